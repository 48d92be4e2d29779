/** The units with which systemd runs the plugin: for root and docker or podman, and for a user and rootless podman. */

export interface UnitOptions {
  /** How to start nfs-fuse. */
  readonly program: readonly string[];
  /** Arguments of the plugin. */
  readonly args: readonly string[];
  readonly socket: string;
  /** For a user's own podman. */
  readonly isForUser: boolean;
  /** The name by which engines know the plugin. */
  readonly name: string;
  /** How long podman is to wait for an answer, if that is not what it does by default. */
  readonly timeoutSeconds: number | undefined;
}

/** The units as one text, each below a line with its path. */
export function unitFiles(options: UnitOptions): string {
  return options.isForUser ? userUnits(options) : systemUnits(options);
}

/** systemd.service(5): the words of a command line. */
function quoted(words: readonly string[]): string {
  return words
    .map((word) =>
      /^[\w./:=,@+-]+$/.test(word) ? word : `"${word.replace(/[\\"]/g, '\\$&').replace(/[%$]/g, '$&$&')}"`,
    )
    .join(' ');
}

/** Mounts are processes of this unit. They have to outlive it, and one that dies must not end it. */
const LASTING = 'KillMode=process\nOOMPolicy=continue\nRestart=always\nRestartSec=1\nTasksMax=infinity';

function systemUnits({ program, args, socket, name }: UnitOptions): string {
  return `# /etc/systemd/system/${name}-volumes.socket
[Unit]
Description=Socket of the nfs-fuse volume plugin

[Socket]
ListenStream=${socket}
SocketMode=0600
RemoveOnStop=yes

[Install]
WantedBy=sockets.target

# /etc/systemd/system/${name}-volumes.service
[Unit]
Description=nfs-fuse volume plugin
Requires=${name}-volumes.socket
After=${name}-volumes.socket network-online.target
Wants=network-online.target
Before=docker.service

# No PrivateTmp=, ProtectSystem= or other setting that makes a mount namespace: engines would not see the mounts.
[Service]
ExecStart=${quoted([...program, 'volume-plugin', ...args])}
${LASTING}

[Install]
WantedBy=multi-user.target
Also=${name}-volumes.socket

# systemctl enable --now ${name}-volumes.socket ${name}-volumes.service
`;
}

function userUnits({ program, args, socket, name, timeoutSeconds }: UnitOptions): string {
  return `# ~/.config/systemd/user/${name}-volumes.service
[Unit]
Description=nfs-fuse volume plugin for rootless podman

# podman unshare: the mounts have to be in the namespaces of podman. It passes no sockets on, so there is no socket unit, and no
# signals: it dies of them, and setpriv has the plugin end with it.
[Service]
ExecStart=podman unshare setpriv --pdeathsig TERM ${quoted([...program, 'volume-plugin', ...args])}
${LASTING}

[Install]
WantedBy=default.target

# ~/.config/containers/containers.conf
${timeoutSeconds === undefined ? '' : `[engine]\nvolume_plugin_timeout = ${timeoutSeconds}\n\n`}[engine.volume_plugins]
${name} = "${socket.replace(/[\\"]/g, '\\$&')}"

# systemctl --user enable --now ${name}-volumes.service; loginctl enable-linger
`;
}
