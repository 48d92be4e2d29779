/**
 * The Container Storage Interface, version 1, as far as this driver speaks it: messages with the numbers of their fields, and
 * the calls of its three services. On the wire a nested message is one like any other, an enumeration is an int32, and the
 * members of a oneof are fields of which at most one is there.
 */
import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';

/** A field as `number type`, `number repeated type`, or `number map` for texts by texts. */
type Fields = Readonly<Record<string, string>>;

const PACKAGE = 'csi.v1';

const SHARED: Readonly<Record<string, Fields>> = {
  BoolValue: { value: '1 bool' },
  Int64Value: { value: '1 int64' },
  BlockVolume: {},
  MountVolume: { fs_type: '1 string', mount_flags: '2 repeated string', volume_mount_group: '3 string' },
  AccessMode: { mode: '1 int32' },
  VolumeCapability: { block: '1 BlockVolume', mount: '2 MountVolume', access_mode: '3 AccessMode' },
  CapacityRange: { required_bytes: '1 int64', limit_bytes: '2 int64' },
  /** A capability of any kind: each service calls the field that holds its number by another name. */
  Kind: { type: '1 int32' },
};

const IDENTITY: Readonly<Record<string, Fields>> = {
  GetPluginInfoRequest: {},
  GetPluginInfoResponse: { name: '1 string', vendor_version: '2 string', manifest: '3 map' },
  GetPluginCapabilitiesRequest: {},
  GetPluginCapabilitiesResponse: { capabilities: '1 repeated PluginCapability' },
  PluginCapability: { service: '1 Kind', volume_expansion: '2 Kind' },
  ProbeRequest: {},
  ProbeResponse: { ready: '1 BoolValue' },
};

const CONTROLLER: Readonly<Record<string, Fields>> = {
  CreateVolumeRequest: {
    name: '1 string',
    capacity_range: '2 CapacityRange',
    volume_capabilities: '3 repeated VolumeCapability',
    parameters: '4 map',
    secrets: '5 map',
    volume_content_source: '6 VolumeContentSource',
    mutable_parameters: '8 map',
  },
  VolumeContentSource: { snapshot: '1 ContentSource', volume: '2 ContentSource' },
  ContentSource: { id: '1 string' },
  CreateVolumeResponse: { volume: '1 Volume' },
  Volume: { capacity_bytes: '1 int64', volume_id: '2 string', volume_context: '3 map' },
  DeleteVolumeRequest: { volume_id: '1 string', secrets: '2 map' },
  DeleteVolumeResponse: {},
  ValidateVolumeCapabilitiesRequest: {
    volume_id: '1 string',
    volume_context: '2 map',
    volume_capabilities: '3 repeated VolumeCapability',
    parameters: '4 map',
    secrets: '5 map',
  },
  ValidateVolumeCapabilitiesResponse: { confirmed: '1 Confirmed', message: '2 string' },
  Confirmed: {
    volume_context: '1 map',
    volume_capabilities: '2 repeated VolumeCapability',
    parameters: '3 map',
  },
  GetCapacityRequest: { volume_capabilities: '1 repeated VolumeCapability', parameters: '2 map' },
  GetCapacityResponse: {
    available_capacity: '1 int64',
    maximum_volume_size: '2 Int64Value',
    minimum_volume_size: '3 Int64Value',
  },
  ControllerGetCapabilitiesRequest: {},
  ControllerGetCapabilitiesResponse: { capabilities: '1 repeated ServiceCapability' },
  ServiceCapability: { rpc: '1 Kind' },
  ControllerExpandVolumeRequest: {
    volume_id: '1 string',
    capacity_range: '2 CapacityRange',
    secrets: '3 map',
    volume_capability: '4 VolumeCapability',
  },
  ControllerExpandVolumeResponse: { capacity_bytes: '1 int64', node_expansion_required: '2 bool' },
};

const NODE: Readonly<Record<string, Fields>> = {
  NodePublishVolumeRequest: {
    volume_id: '1 string',
    publish_context: '2 map',
    staging_target_path: '3 string',
    target_path: '4 string',
    volume_capability: '5 VolumeCapability',
    readonly: '6 bool',
    secrets: '7 map',
    volume_context: '8 map',
  },
  NodePublishVolumeResponse: {},
  NodeUnpublishVolumeRequest: { volume_id: '1 string', target_path: '2 string' },
  NodeUnpublishVolumeResponse: {},
  NodeGetVolumeStatsRequest: {
    volume_id: '1 string',
    volume_path: '2 string',
    staging_target_path: '3 string',
  },
  NodeGetVolumeStatsResponse: { usage: '1 repeated VolumeUsage', volume_condition: '2 VolumeCondition' },
  VolumeUsage: { available: '1 int64', total: '2 int64', used: '3 int64', unit: '4 int32' },
  VolumeCondition: { abnormal: '1 bool', message: '2 string' },
  NodeExpandVolumeRequest: {
    volume_id: '1 string',
    volume_path: '2 string',
    capacity_range: '3 CapacityRange',
    staging_target_path: '4 string',
    volume_capability: '5 VolumeCapability',
    secrets: '6 map',
  },
  NodeExpandVolumeResponse: { capacity_bytes: '1 int64' },
  NodeGetCapabilitiesRequest: {},
  NodeGetCapabilitiesResponse: { capabilities: '1 repeated ServiceCapability' },
  NodeGetInfoRequest: {},
  NodeGetInfoResponse: { node_id: '1 string', max_volumes_per_node: '2 int64' },
};

/** The calls of each service. A call takes the message CALLRequest, and answers with CALLResponse. */
const SERVICES = {
  Identity: ['GetPluginInfo', 'GetPluginCapabilities', 'Probe'],
  Controller: [
    'CreateVolume',
    'DeleteVolume',
    'ValidateVolumeCapabilities',
    'GetCapacity',
    'ControllerGetCapabilities',
    'ControllerExpandVolume',
  ],
  Node: [
    'NodePublishVolume',
    'NodeUnpublishVolume',
    'NodeGetVolumeStats',
    'NodeExpandVolume',
    'NodeGetCapabilities',
    'NodeGetInfo',
  ],
} as const;

export type ServiceName = keyof typeof SERVICES;

/** The name of a service on the wire. */
export function fullName(service: ServiceName): string {
  return `${PACKAGE}.${service}`;
}

/** The interface for grpc-js. Fields have their names in CSI, an int64 is a text, and absent messages are null. */
export function csiInterface(): PackageDefinition {
  const messages = Object.entries({ ...SHARED, ...IDENTITY, ...CONTROLLER, ...NODE }).map(
    ([name, fields]) => [name, { fields: mapped(fields, fieldOf) }] as const,
  );
  const services = Object.entries(SERVICES).map(
    ([name, calls]) =>
      [
        name,
        {
          methods: Object.fromEntries(
            calls.map((call) => [call, { requestType: `${call}Request`, responseType: `${call}Response` }]),
          ),
        },
      ] as const,
  );
  const [outer = '', inner = ''] = PACKAGE.split('.');
  const nested = Object.fromEntries<object>([...messages, ...services]);
  const json = { nested: { [outer]: { nested: { [inner]: { nested } } } } };
  return fromJSON(json as Parameters<typeof fromJSON>[0], { longs: String, defaults: true });
}

function fieldOf(text: string): object {
  const [number, ...words] = text.split(' ');
  const id = Number(number);
  const [first = '', second] = words;
  if (first === 'map') return { id, keyType: 'string', type: 'string' };
  return second === undefined ? { id, type: first } : { id, rule: first, type: second };
}

function mapped<Value, Result>(
  record: Readonly<Record<string, Value>>,
  change: (value: Value) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
