import type { GoObject } from '#src/network/go-json.ts';

/** The extension backend's part of the network config (flannel HEAD, backend/extension/extension.go), and two options of weft's. */
export interface ExtensionOptions {
  /** Before the lease: what it prints is published in it. */
  readonly preStartup: string | undefined;
  /** After the lease, before the peers. */
  readonly postStartup: string | undefined;
  readonly subnetAdd: string | undefined;
  readonly subnetRemove: string | undefined;
  /** When flanneld ends. flannel has none. */
  readonly shutdown: string | undefined;
  /** The devices by which packets of the overlay come in, for the rules of the packet filter. flannel has no such option. */
  readonly devices: readonly string[];
}

/** IFNAMSIZ of linux/if.h, less the terminating zero; no slash, no blank (dev_valid_name). */
const DEVICE = /^(?!\.\.?$)[^\s/:]{1,15}$/;

/** Throws WeftError `config`, naming field and value. */
export function readExtensionOptions(options: GoObject): ExtensionOptions {
  // In Go, an empty text and an absent one are the same.
  const command = (name: string): string | undefined => {
    const text = options.string(name);
    if (text?.includes('\0')) throw options.error(name, 'a command can’t have a zero byte');
    return text?.trim() === '' ? undefined : text;
  };
  const devices = (options.string('Devices') ?? '').split(/[\s,]+/).filter(Boolean);
  for (const device of devices)
    if (!DEVICE.test(device)) throw options.error('Devices', `${device} is no name of a device`);
  return {
    preStartup: command('PreStartupCommand'),
    postStartup: command('PostStartupCommand'),
    subnetAdd: command('SubnetAddCommand'),
    subnetRemove: command('SubnetRemoveCommand'),
    shutdown: command('ShutdownCommand'),
    devices,
  };
}
