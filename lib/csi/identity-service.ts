/** The Identity service: who this driver is, what it can do, and that it is well. */
import { packageInfo } from '../base/package-info.js';
import { PluginExpansion, PluginService } from './wire/csi-messages.js';
import { type CsiCalls, csiCall } from './wire/csi-server.js';

/** `hasController`: whether this process offers the Controller service. */
export function identityCalls(driverName: string, hasController: boolean): CsiCalls {
  const capabilities = hasController
    ? [
        { service: { type: PluginService.CONTROLLER } },
        { volume_expansion: { type: PluginExpansion.ONLINE } },
      ]
    : [];
  return {
    GetPluginInfo: csiCall(() => ({ name: driverName, vendor_version: packageInfo().version })),
    GetPluginCapabilities: csiCall(() => ({ capabilities })),
    Probe: csiCall(() => ({ ready: { value: true } })),
  };
}
