/** The messages of CSI as this driver reads them, and the numbers of its enumerations. */

/** Texts by texts. */
export type Texts = Readonly<Record<string, string>>;

export interface VolumeCapability {
  readonly block: object | null;
  readonly mount: {
    readonly fs_type: string;
    readonly mount_flags: readonly string[];
    readonly volume_mount_group: string;
  } | null;
  readonly access_mode: { readonly mode: number } | null;
}

/** Numbers of bytes as decimal texts; 0 means none is given. */
export interface CapacityRange {
  readonly required_bytes: string;
  readonly limit_bytes: string;
}

export interface CreateVolumeRequest {
  readonly name: string;
  readonly capacity_range: CapacityRange | null;
  readonly volume_capabilities: readonly VolumeCapability[];
  readonly parameters: Texts;
  readonly secrets: Texts;
  readonly volume_content_source: object | null;
  readonly mutable_parameters: Texts;
}

export interface DeleteVolumeRequest {
  readonly volume_id: string;
  readonly secrets: Texts;
}

export interface ValidateVolumeCapabilitiesRequest {
  readonly volume_id: string;
  readonly volume_context: Texts;
  readonly volume_capabilities: readonly VolumeCapability[];
  readonly parameters: Texts;
  readonly secrets: Texts;
}

export interface GetCapacityRequest {
  readonly volume_capabilities: readonly VolumeCapability[];
  readonly parameters: Texts;
}

export interface ControllerExpandVolumeRequest {
  readonly volume_id: string;
  readonly capacity_range: CapacityRange | null;
}

export interface NodePublishVolumeRequest {
  readonly volume_id: string;
  readonly target_path: string;
  readonly volume_capability: VolumeCapability | null;
  readonly readonly: boolean;
  readonly volume_context: Texts;
}

export interface NodeUnpublishVolumeRequest {
  readonly volume_id: string;
  readonly target_path: string;
}

export interface NodeGetVolumeStatsRequest {
  readonly volume_id: string;
  readonly volume_path: string;
}

export interface NodeExpandVolumeRequest {
  readonly volume_id: string;
  readonly volume_path: string;
  readonly capacity_range: CapacityRange | null;
}

/** Of PluginCapability: its service, and its expansion. */
export const PluginService = { CONTROLLER: 1 } as const;
export const PluginExpansion = { ONLINE: 1 } as const;
/** Of the controller's capabilities. */
export const ControllerCan = {
  CREATE_DELETE_VOLUME: 1,
  GET_CAPACITY: 4,
  EXPAND_VOLUME: 9,
  SINGLE_NODE_MULTI_WRITER: 13,
} as const;
/** Of the node's capabilities. */
export const NodeCan = {
  GET_VOLUME_STATS: 2,
  VOLUME_CONDITION: 4,
  SINGLE_NODE_MULTI_WRITER: 5,
  VOLUME_MOUNT_GROUP: 6,
} as const;
/** Of VolumeCapability. */
export const AccessModes = {
  SINGLE_NODE_READER_ONLY: 2,
  MULTI_NODE_READER_ONLY: 3,
  HIGHEST: 7,
} as const;
/** Of VolumeUsage. */
export const UsageUnit = { BYTES: 1, INODES: 2 } as const;
