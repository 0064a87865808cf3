export const MAINTAINER = 'The weft authors <weft@packages.invalid>';
export const SUMMARY = "overlay network for Docker hosts, in flannel's place";
/** Lines of at most 78 characters. */
export const DESCRIPTION = [
  'weft is a drop-in flanneld: it takes a subnet for this host from etcd, makes',
  'the tunnels to the other hosts, and gives Docker the subnet. It speaks',
  "flannel's protocol, and works in one network with flannel's hosts.",
  'What drifts in the kernel is repaired, an outage of the registry loses no',
  'packet, and "weft doctor" names what is wrong. The embedded store serves a',
  'site without etcd. Docker gets a network driver for isolated networks over',
  'all hosts.',
];

/**
 * What the executable is linked with: the newest symbol versions of each family that Node refers to, the same on both architectures.
 * test/packaging/packages.test.ts compares this with the executable.
 */
export const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  'libc.so.6': ['GLIBC_2.28'],
  'libstdc++.so.6': ['CXXABI_1.3.11', 'GLIBCXX_3.4.21'],
  'libgcc_s.so.1': ['GCC_4.2.0'],
  'libatomic.so.1': ['LIBATOMIC_1.0'],
};

/**
 * A release's version in both formats' words: what comes after `-` is earlier than the release without it.
 * `0.2.0-rc1` is `0.2.0~rc1`.
 */
export function packageVersion(version: string): string {
  if (!/^\d[0-9A-Za-z.+-]*$/.test(version)) {
    throw new Error(
      `a version is digits, letters, ".", "+" and "-", and begins with a digit, not "${version}"`,
    );
  }
  return version.replaceAll('-', '~');
}
