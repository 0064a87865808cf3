import { dirname } from 'node:path';
import type { Check } from '#src/diagnose/check.ts';
import { doubledOptions } from '#src/diagnose/facts/dockerd.ts';
import { known, NoFact } from '#src/diagnose/facts/fact.ts';
import type { InstallationFacts } from '#src/diagnose/installation/installation.ts';
import type { UnitSeen } from '#src/diagnose/installation/units-seen.ts';

/** A unit; throws NoFact where it is not there, for then there is nothing to look at. */
function unitOf({ units }: InstallationFacts, name: string): UnitSeen {
  const unit = known(units).get(name);
  if (unit !== undefined) return unit;
  throw new NoFact({ kind: 'absent', why: `there is no ${name}` });
}

/** Docker's driver and the fast path need more than rights: see packaging/systemd/flanneld.service.d/. */
const DROP_INS = [
  ['CAP_SYS_ADMIN', 'weft-driver.conf'],
  ['CAP_BPF', 'weft-fast-path.conf'],
  ['CAP_PERFMON', 'weft-fast-path.conf'],
] as const;

/** What weft-generator makes. */
const GENERATED = 'zz-weft-flannel.conf';

/** The processes of flanneld and Docker, and their units. */
export const INSTALLED_UNIT_CHECKS: readonly Check<InstallationFacts>[] = [
  {
    id: 'other-flannel-enabled',
    title: 'no service of flannel is enabled beside flanneld',
    why: 'Two programs that serve one network on a host undo what the other did.',
    causes: [],
    look(facts) {
      if (!unitOf(facts, 'flannel.service').isEnabled) return undefined;
      return {
        what: `flannel.service is enabled: the next boot starts it beside flanneld.`,
        remedy: 'systemctl disable --now flannel',
      };
    },
  },
  {
    id: 'unit-hidden',
    title: "the package's unit is the one that counts",
    why: 'A unit in /etc hides the one of the package: what an upgrade changes there never comes into force.',
    causes: [],
    look(facts) {
      const [first, ...hidden] = unitOf(facts, 'flanneld.service').paths;
      if (first === undefined || hidden.length === 0) return undefined;
      return {
        what: `${first} hides ${hidden.join(' and ')}.`,
        remedy: `rm ${first} && systemctl daemon-reload, then systemctl restart flanneld; what it has beyond the package's goes to ${first}.d/`,
      };
    },
  },
  {
    id: 'unit-not-enabled',
    title: 'a flanneld that runs starts at the next boot, too',
    why: 'Without it Docker comes up at the next boot without the overlay.',
    causes: [],
    look(facts) {
      const unit = unitOf(facts, 'flanneld.service');
      const { unit: running } = known(facts.flanneld);
      if (running !== unit.name || unit.isEnabled) return undefined;
      return { what: 'flanneld.service runs and is not enabled.', remedy: 'systemctl enable flanneld' };
    },
  },
  {
    id: 'daemon-version',
    title: 'flanneld runs in the version that is installed',
    why: 'After an upgrade the earlier program runs until it is restarted, and does not have what was mended.',
    causes: [],
    look(facts) {
      const { version, runningVersion } = facts;
      const { isReplaced, pid } = known(facts.flanneld);
      const remedy = 'systemctl restart flanneld: no packet is lost';
      if (runningVersion !== undefined && runningVersion !== version)
        return { what: `flanneld ${runningVersion} runs, and ${version} is installed.`, remedy };
      if (!isReplaced) return undefined;
      return { what: `The program of the flanneld that runs (process ${pid}) was replaced.`, remedy };
    },
  },
  {
    id: 'daemon-capabilities',
    title: 'flanneld has the rights that its features need',
    why: "A feature without its right is left out: probes without CAP_NET_RAW, Docker's networks without CAP_SYS_ADMIN, the fast path without CAP_BPF and CAP_PERFMON.",
    causes: [],
    look(facts) {
      const { missing, pid, unit } = known(facts.flanneld);
      if (missing.length === 0) return undefined;
      const folder = `/etc/systemd/system/${unit ?? 'flanneld.service'}.d`;
      const dropIn = DROP_INS.find(([right]) => missing.includes(right))?.[1];
      return {
        what: `flanneld (process ${pid}) runs without ${missing.join(' and ')}.`,
        remedy: dropIn
          ? `systemctl daemon-reload, which lets weft-generator add the rights; without it, the drop-in flanneld.service.d/${dropIn} of docs/guides/systemd.md; then systemctl restart flanneld`
          : `printf '[Service]\\nCapabilityBoundingSet=${missing.join(' ')}\\n' | install -D /dev/stdin ${folder}/rights.conf && systemctl daemon-reload && systemctl restart flanneld`,
      };
    },
  },
  {
    id: 'daemon-unfiltered',
    title: "flanneld's system calls are filtered, as its unit says",
    why: 'The filter keeps a flanneld that was taken over from most of the kernel.',
    causes: [],
    look(facts) {
      const unit = unitOf(facts, 'flanneld.service');
      const running = known(facts.flanneld);
      const isAsked = /^SystemCallFilter=.+$/m.test(unit.text);
      if (!isAsked || running.isFiltered) return undefined;
      return running.unit === unit.name
        ? {
            what: `flanneld (process ${running.pid}) runs without the filter that ${unit.name} has.`,
            remedy: 'systemctl daemon-reload && systemctl restart flanneld',
          }
        : {
            what: `flanneld (process ${running.pid}) runs outside of ${unit.name}, without its filter and its other limits.`,
            remedy: `kill ${running.pid} && systemctl start flanneld: no packet is lost`,
          };
    },
  },
  {
    id: 'docker-unit-options',
    title: "Docker's unit takes the options that flanneld makes",
    why: 'Docker then starts on a subnet of its own, and its containers reach no other host.',
    causes: [],
    look(facts) {
      const docker = unitOf(facts, 'docker.service');
      if (!unitOf(facts, 'flanneld.service').isEnabled) return undefined;
      if (takesOptions(docker)) return undefined;
      return {
        what: 'flanneld.service is enabled, and the ExecStart= of docker.service has no $DOCKER_NETWORK_OPTIONS.',
        remedy:
          'systemctl daemon-reload, which lets weft-generator add it; without it, the drop-in docker.service.d/flannel.conf of docs/guides/systemd.md; then systemctl restart docker',
      };
    },
  },
  {
    id: 'docker-options-refused',
    title: "Docker's file leaves bip and mtu to flanneld",
    why: 'dockerd does not start with an option in two places, and then no container runs.',
    causes: [],
    look(facts) {
      const docker = unitOf(facts, 'docker.service');
      const { isEnabled } = unitOf(facts, 'flanneld.service');
      if (isEnabled && !takesOptions(docker)) return undefined;
      const { dockerd } = facts;
      const words = dockerd.kind === 'known' ? doubledOptions(dockerd.value) : [];
      // Those of a dockerd that runs are said by docker-json.
      const names = ['bip', 'mtu'].filter(
        (name) => facts.dockerOptions.includes(name) && !words.includes(name),
      );
      if (names.length === 0) return undefined;
      return {
        what: `${names.join(' and ')} ${names.length === 1 ? 'is' : 'are'} in /etc/docker/daemon.json: with the options of flanneld Docker does not start.`,
        remedy: `take ${names.join(' and ')} out of /etc/docker/daemon.json, before Docker is restarted`,
      };
    },
  },
  {
    id: 'docker-drop-in-left',
    title: 'no drop-in made by hand is beside the generated one',
    why: "It keeps an ExecStart= of its own: what Docker's package changes in its unit never comes into force.",
    causes: [],
    look(facts) {
      const { dropIns } = unitOf(facts, 'docker.service');
      const isGenerated = dropIns.some((path) => path.endsWith(`/${GENERATED}`));
      const left = dropIns.filter((path) => /\/flannel\.conf$/.test(path));
      const [first] = left;
      if (!isGenerated || first === undefined) return undefined;
      return {
        what: `${left.join(' and ')} ${left.length === 1 ? 'is' : 'are'} from before weft-generator made such a drop-in.`,
        remedy: `rm ${left.join(' ')} && systemctl daemon-reload; systemctl cat docker shows what is left of ${dirname(first)}`,
      };
    },
  },
  {
    id: 'plugin-socket-left',
    title: "the socket of Docker's driver is served",
    why: 'dockerd waits 15 s for an answer there at its start, and in many commands.',
    causes: [],
    look({ plugin: { path, isThere, isServed } }) {
      if (!isThere || isServed) return undefined;
      return {
        what: `Nobody listens on ${path}.`,
        remedy: `systemctl start weft-docker.socket flanneld, or rm ${path} where the driver is not used`,
      };
    },
  },
];

const takesOptions = (docker: UnitSeen): boolean =>
  /^ExecStart=.*\$\{?DOCKER_(NETWORK_OPTIONS|OPTS)\b/m.test(withoutPackaged(docker));

/** Debian's own unit of Docker has $DOCKER_OPTS, which nobody sets: only a drop-in with it counts. */
const withoutPackaged = ({ text, dropIns }: UnitSeen): string =>
  dropIns.length === 0 ? text.replaceAll('$DOCKER_OPTS', '') : text;
