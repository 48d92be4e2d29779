/** Prints findings line by line for people, or as JSON for programs, and derives the exit status from them. */
import { shownJson, shownName } from '../base/shown-name.js';
import { type Style, styleFor, wantsColour } from '../base/terminal.js';
import type { Finding, StepResult } from './step.js';

const RESULT_WIDTH = 'failure'.length;

export interface ReportOptions {
  readonly json: boolean;
  /** The width of the longest name of a step, to align the messages. */
  readonly nameWidth: number;
  /** Gets the report, in whole lines. */
  print(text: string): void;
}

/** Gets the findings in their order, and prints each as soon as it comes; as JSON, all of them at the end. */
export class Report {
  readonly #options: ReportOptions;
  readonly #style: Style;
  readonly #findings: Finding[] = [];

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#style = styleFor(wantsColour(process.stdout, process.env));
  }

  /** Prints the subject of the next findings. */
  heading(text: string): void {
    this.#print(this.#style.bold(oneLine(text)));
  }

  add(finding: Finding): void {
    this.#findings.push(finding);
    const { step, result, message, remedy } = finding;
    const { nameWidth } = this.#options;
    const shown = this.#painted(result)(result.padEnd(RESULT_WIDTH));
    this.#print(`  ${shown}  ${step.padEnd(nameWidth)}  ${oneLine(message)}`);
    if (remedy === undefined) return;
    this.#print(`${' '.repeat(RESULT_WIDTH + nameWidth + 6)}→ ${oneLine(remedy)}`);
  }

  /** Prints the last line, or the whole JSON. */
  end(): void {
    if (this.#options.json) {
      this.#options.print(jsonOf(this.#findings));
      return;
    }
    const count = (result: StepResult, one: string, many: string): string | undefined => {
      const number = this.#findings.filter((finding) => finding.result === result).length;
      return number === 0 ? undefined : `${number} ${number === 1 ? one : many}`;
    };
    const failures = count('failure', 'failure', 'failures');
    const warnings = count('warning', 'warning', 'warnings');
    const { good, bad } = this.#style;
    if (failures !== undefined)
      this.#print(bad([failures, warnings].filter((part) => part !== undefined).join(', ')));
    else
      this.#print(good(warnings === undefined ? 'Nothing is missing.' : `Nothing is missing; ${warnings}.`));
  }

  /** 0: no failure (or, with `strict`, no warning either); 1 otherwise. */
  exitStatus(strict: boolean): number {
    const bad = ({ result }: Finding) => result === 'failure' || (strict && result === 'warning');
    return this.#findings.some(bad) ? 1 : 0;
  }

  #painted(result: StepResult): (text: string) => string {
    const { good, bad, accent, dim } = this.#style;
    return { ok: good, warning: accent, failure: bad, skipped: dim }[result];
  }

  #print(line: string): void {
    if (!this.#options.json) this.#options.print(`${line}\n`);
  }
}

/** As --json prints them. */
export function jsonOf(findings: readonly Finding[]): string {
  return `${shownJson(findings, 2)}\n`;
}

/** The text on one line: names from outside may contain line breaks. */
export function oneLine(text: string): string {
  return shownName(text);
}
