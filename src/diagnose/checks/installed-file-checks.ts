import { basename, dirname } from 'node:path';
import { type Check, some } from '#src/diagnose/check.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import { type InstallationFacts, UNIT_PATH } from '#src/diagnose/installation/installation.ts';
import { MODULES_FILE, SYSCTL_FILE } from '#src/diagnose/installation/kernel-settings.ts';
import { FLANNELD_SETTINGS } from '#src/diagnose/installation/settings-files.ts';

/** Below this flanneld can't be sure to write its state, and is about to fail. */
const ROOM = { bytes: 16 << 20, files: 16 } as const;
const DAY_MS = 86_400_000;
/** A certificate that ends sooner is a finding: there is time to make another. */
const SOON_DAYS = 14;

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

/** Files, their rights, and what they ask of the kernel. */
export const INSTALLED_FILE_CHECKS: readonly Check<InstallationFacts>[] = [
  {
    id: 'package-files',
    title: "the package's files are as they were installed",
    why: 'A program or a unit that was changed or lost is not the one that was tested, and the next upgrade puts it back.',
    causes: [],
    look(facts) {
      const { manager, name, changed } = known(facts.package);
      if (changed.length === 0) return undefined;
      const install = manager === 'dpkg' ? 'apt-get install' : 'dnf';
      return {
        what: `Files of the package ${name} are missing or changed: ${some(changed)}.`,
        remedy: `${install} ${manager === 'dpkg' ? '--reinstall' : 'reinstall'} ${name}`,
      };
    },
  },
  {
    id: 'program-missing',
    title: 'the executable has its other names',
    why: 'The executable is each program by the name that it is called by. Units find these names in their path.',
    causes: [],
    look({ programs, installed }) {
      const missing = programs.filter(({ path }) => path === undefined);
      // A checkout may be used where it is.
      if (missing.length === 0 || (installed.as === 'checkout' && missing.length === programs.length))
        return undefined;
      const of = ({ name }: (typeof programs)[number]): string => {
        if (installed.as === 'checkout') return `ln -s ${installed.path}/bin/${name} /usr/local/bin/`;
        const folder = dirname(installed.path);
        // An executable that was unpacked elsewhere may have the names beside it, where no unit looks.
        return UNIT_PATH.includes(folder)
          ? `ln -s ${basename(installed.path)} ${folder}/${name}`
          : `ln -s ${installed.path} /usr/local/bin/${name}`;
      };
      return {
        what: `There is no ${missing.map(({ name }) => name).join(' and no ')} in the path of units.`,
        remedy: missing.map(of).join(' && '),
      };
    },
  },
  {
    id: 'program-shadowed',
    title: 'units start the programs of this installation',
    why: 'A unit names a program without a path, and systemd takes the first one in its path.',
    causes: [],
    look({ programs, installed }) {
      const strangers = programs.filter(({ path, isOurs }) => path !== undefined && !isOurs);
      const [first] = strangers;
      if (first === undefined) return undefined;
      return {
        what: `${strangers.map(({ path }) => path).join(' and ')} ${strangers.length === 1 ? 'comes' : 'come'} first, and not the program of ${installed.path}.`,
        remedy: `ls -l ${strangers.map(({ path }) => path).join(' ')} shows what it is: remove it, or the installation that is not wanted`,
      };
    },
  },
  {
    id: 'secret-readable',
    title: 'nobody but root reads passwords and keys',
    why: 'The password of etcd is enough to take every subnet and to lead all packets to another host.',
    causes: [],
    look({ settings }) {
      const open = settings.filter(({ secret, mode }) => secret !== undefined && (mode & 0o077) !== 0);
      if (open.length === 0) return undefined;
      return {
        what: `Others can read ${open.map(({ path, mode, secret }) => `${path} (${octal(mode)}), which has ${secret}`).join('; ')}.`,
        remedy: `chmod 600 ${open.map(({ path }) => path).join(' ')}`,
      };
    },
  },
  {
    id: 'settings-owner',
    title: 'settings belong to root',
    why: 'A writer of the settings of flanneld runs a program of his choice as root. flanneld itself may read its key only where root owns it.',
    causes: [],
    look({ settings }) {
      const foreign = settings.filter(({ uid, mode }) => uid !== 0 || (mode & 0o022) !== 0);
      if (foreign.length === 0) return undefined;
      const paths = foreign.map(({ path }) => path).join(' ');
      return {
        what: `Others than root can write ${foreign.map(({ path, uid, mode }) => `${path} (owner ${uid}, ${octal(mode)})`).join(', ')}.`,
        remedy: `chown root ${paths} && chmod go-w ${paths}`,
      };
    },
  },
  {
    id: 'settings-twice',
    title: 'the two files of settings do not contradict each other',
    why: 'What is changed in the file of an earlier version has no effect: the other one wins.',
    causes: [],
    look({ settingsTwice }) {
      const [old, now] = FLANNELD_SETTINGS;
      if (settingsTwice.length === 0) return undefined;
      return {
        what: `${old} and ${now} have different values of ${some(settingsTwice)}.`,
        remedy: `put what is right into ${now}, then rm ${old} && systemctl restart flanneld`,
      };
    },
  },
  {
    id: 'state-folder',
    title: "nobody but root writes flanneld's state",
    why: "The sockets in it answer questions about all networks, and the state has the host's identity.",
    causes: [],
    look(facts) {
      const { path, mode, uid, open } = known(facts.state);
      if (uid !== 0 || (mode & 0o022) !== 0)
        return {
          what: `Others than root can write into ${path} (owner ${uid}, ${octal(mode)}).`,
          remedy: `chown root ${path} && chmod 755 ${path}`,
        };
      if (open.length === 0) return undefined;
      return {
        what: `Others than root can use ${some(open)} in ${path}.`,
        remedy: `chmod 600 ${open.map((name) => `${path}/${name}`).join(' ')}`,
      };
    },
  },
  {
    id: 'state-disk-full',
    title: "the disk of flanneld's state has room",
    why: 'Without room flanneld does not write down its peers, and a new subnet.env fails its start.',
    causes: [],
    look(facts) {
      const { path, freeBytes, freeFiles } = known(facts.state);
      if (freeBytes < ROOM.bytes)
        return {
          what: `${path} has ${Math.floor(freeBytes / 1024)} KiB left.`,
          remedy: `make room: du -xh --max-depth=2 $(df --output=target ${path} | tail -n 1) | sort -h | tail`,
        };
      if (freeFiles === undefined || freeFiles >= ROOM.files) return undefined;
      return {
        what: `The file system of ${path} can take ${freeFiles} more files.`,
        remedy: `remove files there: df -i ${path}`,
      };
    },
  },
  {
    id: 'tls-files',
    title: "flanneld's certificates can be used, and do not end soon",
    why: 'With a certificate that has ended etcd refuses this host: it keeps its peers, and loses its lease.',
    causes: [],
    look(facts) {
      const { fault, ends } = known(facts.certificates);
      if (fault !== undefined)
        return { what: `The TLS files can't be used: ${fault}.`, remedy: 'give flanneld the right files' };
      const early = ends.find(({ from }) => from > facts.now);
      if (early !== undefined)
        return {
          what: `The certificate in ${early.path} is not valid before ${new Date(early.from).toISOString()}.`,
          remedy: 'date shows the clock of this host: set it, or make the certificate again',
        };
      const first = ends.toSorted((a, b) => a.until - b.until)[0];
      const days = first && Math.floor((first.until - facts.now) / DAY_MS);
      if (first === undefined || days === undefined || days >= SOON_DAYS) return undefined;
      return {
        what: `The certificate in ${first.path} ${days < 0 ? 'has ended' : `ends in ${days} days`} (${new Date(first.until).toISOString()}).`,
        remedy: `put a new certificate into ${first.path}, then systemctl restart flanneld: no packet is lost`,
      };
    },
  },
  {
    id: 'sysctls-not-applied',
    title: "the kernel has the package's sysctls",
    why: 'A value that another file or program sets later takes the place of the one that the overlay needs.',
    causes: [],
    look({ kernel: { sysctls }, flanneld }) {
      // Before flanneld's first start they need not be there: the boot sets them, and so does flanneld.
      if (sysctls.length === 0 || flanneld.kind === 'absent') return undefined;
      const words = sysctls.map(({ name, wanted, found }) => `${name} is ${found} and not ${wanted}`);
      return {
        what: `The kernel has not what ${SYSCTL_FILE} says: ${some(words)}.`,
        remedy: `sysctl -p ${SYSCTL_FILE}; grep -r ${sysctls[0]?.name} /etc/sysctl.conf /etc/sysctl.d finds the other file`,
      };
    },
  },
  {
    id: 'modules-not-loaded',
    title: "the package's kernel modules are loaded",
    why: 'flanneld has no right to load a module: without it no device of the overlay can be made.',
    causes: [],
    look({ kernel: { modules }, flanneld }) {
      const [first] = modules;
      if (first === undefined || flanneld.kind === 'absent') return undefined;
      const absent = modules.filter(({ isInstalled }) => !isInstalled);
      const names = (some: typeof modules): string => some.map(({ name }) => name).join(' ');
      return {
        what: `The kernel has not loaded what ${MODULES_FILE} names: ${names(modules)}.`,
        remedy:
          absent.length === 0
            ? `modprobe -a ${names(modules)}`
            : `install linux-modules-extra (Ubuntu) or kernel-modules (Fedora, RHEL) of the running kernel for ${names(absent)}, or take what is not needed out of ${MODULES_FILE}`,
      };
    },
  },
  {
    id: 'filter-program-missing',
    title: 'there is a program for the packet filter',
    why: 'flanneld sets its rules with nft or iptables; without one its start fails.',
    causes: [],
    look: ({ filters }) =>
      filters.length > 0
        ? undefined
        : {
            what: 'There is neither nft nor iptables on this host.',
            remedy: 'apt-get install nftables, or dnf install nftables',
          },
  },
];
