/**
 * Tells a service manager about a mount in the foreground, by the protocol of sd_notify(3). Owns the messages and the watchdog.
 * A manager that cannot be reached changes nothing for the mount.
 */
import { sendDatagram } from './notify-socket.js';

/** Messages that find the manager's queue full are sent again, so often and after such pauses. */
const MOST_TRIES = 20;
const PAUSE_MS = 100;

export class ServiceManager {
  readonly #address: string;
  readonly #send: typeof sendDatagram;
  readonly #watchdogMs: number | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  private constructor(address: string, watchdogMs: number | undefined, send: typeof sendDatagram) {
    this.#address = address;
    this.#watchdogMs = watchdogMs;
    this.#send = send;
  }

  /** The manager that has started this process or the one before it; undefined: there is none that wants to hear. */
  static of(env: NodeJS.ProcessEnv, send = sendDatagram): ServiceManager | undefined {
    const { NOTIFY_SOCKET: address, WATCHDOG_USEC: watchdog } = env;
    // systemd has paths and abstract names; what else there may be (vsock) is for machines, not for services.
    if (address === undefined || !/^[/@]./s.test(address)) return undefined;
    const microseconds = Number(watchdog);
    // WATCHDOG_PID names the first process. One that goes on with its mount is the main process by then.
    const interval = Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 1000 : undefined;
    return new ServiceManager(address, interval, send);
  }

  /** The mount answers, and this process serves it. From now on the watchdog is fed, twice as often as the manager asks. */
  ready(status: string): void {
    this.#tell(`READY=1\nMAINPID=${process.pid}\nSTATUS=${status.replace(/\n/g, '\\n')}`);
    if (this.#watchdogMs === undefined || this.#watchdog !== undefined) return;
    this.#watchdog = setInterval(() => this.#tell('WATCHDOG=1'), Math.max(1, this.#watchdogMs / 2));
    this.#watchdog.unref();
  }

  /** The mount ends; what was written may have to be written back yet. The watchdog is fed meanwhile. */
  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=Writing back, and unmounting.');
  }

  /** Process `pid` serves the mount now, and this one ends. */
  goesOnAs(pid: number): void {
    this.dispose();
    this.#tell(`MAINPID=${pid}`);
  }

  dispose(): void {
    clearInterval(this.#watchdog);
    this.#watchdog = undefined;
  }

  #tell(message: string, tries = MOST_TRIES): void {
    if (this.#send(this.#address, message) !== 'busy' || tries <= 1) return;
    setTimeout(() => this.#tell(message, tries - 1), PAUSE_MS).unref();
  }
}
