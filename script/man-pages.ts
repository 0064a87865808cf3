import { COMMANDS } from '#src/cli/commands.ts';
import { MK_DOCKER_OPTS_USAGE } from '#src/cli/mk-docker-opts-usage.ts';
import { STORE_ENVIRONMENT, STORE_FLAGS } from '#src/cli/store-flags.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLAG_GROUPS, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { commandLines, proseLines } from './man-command.ts';
import { flagLines, variableLines } from './man-flags.ts';
import {
  asSentence,
  bold,
  italic,
  type PageTitle,
  page,
  pageOf,
  paragraph,
  section,
  subsection,
  tagged,
} from './roff.ts';

export type ManVersion = Pick<PageTitle, 'version' | 'date'>;

/**
 * All manual pages by their file names (`weft-doctor.8`), made from the tables that the programs read their flags by. The
 * same for the same version and date.
 */
export async function manPages(made: ManVersion): Promise<Map<string, string>> {
  const pages = new Map([
    ['flanneld.8', flanneld(made)],
    ['flanneld.conf.5', flanneldConf(made)],
    ['mk-docker-opts.8', mkDockerOpts(made)],
    ['store.conf.5', storeConf(made)],
    ['weft.8', weft(made)],
  ]);
  for (const [command, { about, load }] of Object.entries(COMMANDS)) {
    const name = `weft-${command}`;
    const title = { name, section: 8, about: clause(about), ...made } as const;
    pages.set(`${name}.8`, page(title, await commandLines(command, clause(about), await load())));
  }
  return pages;
}

/** Without the hint at the help: the page is the help. */
const clause = (about: string): string => about.replace(/(: weft |; ).*$/, '');

const EXIT = [
  ...tagged(bold('0'), 'It did what it should.'),
  ...tagged(bold('1'), 'It could not: one line on standard error has the reason and what to do.'),
  ...tagged(bold('2'), 'The command line can not be read, or something could not be looked at.'),
];

const weft = (made: ManVersion): string =>
  page(
    { name: 'weft', section: 8, about: 'the overlay network of this host: look, diagnose, mend', ...made },
    [
      ...section('Synopsis', [`${bold('weft')} ${italic('COMMAND')} [flags]`, '.br', bold('weft --version')]),
      ...section(
        'Description',
        paragraph(
          'weft shows and mends what flanneld has made on this host. Most commands ask the flanneld that runs. They change nothing unless their page says so.',
        ),
      ),
      ...section(
        'Commands',
        Object.entries(COMMANDS).flatMap(([name, { about }]) =>
          tagged(pageOf(`weft-${name}`, 8), `${asSentence(clause(about))}.`),
        ),
      ),
      ...section('Exit status', [
        ...EXIT,
        ...paragraph('A command whose page says something else does that.'),
      ]),
      ...section('Files', FILES),
      ...section('See also', [
        `${pageOf('flanneld', 8)}, ${pageOf('flanneld.conf', 5)}, ${pageOf('store.conf', 5)}, ${pageOf('mk-docker-opts', 8)}`,
      ]),
    ],
  );

const FILES = [
  ...tagged(bold('/etc/weft/flanneld.conf'), 'Settings of flanneld.service.'),
  ...tagged(bold('/etc/weft/store.conf'), 'Settings of weft-store.service.'),
  ...tagged(bold('/run/flannel/subnet.env'), "This host's subnet and MTU, for Docker."),
  ...tagged(
    bold('/var/lib/weft'),
    "The host's identity, what it last knew of its peers, and the sockets of the local API.",
  ),
];

const flags = FLANNELD_FLAGS satisfies FlagTable;
const flagsOfGroup = (group: string): FlagTable =>
  Object.fromEntries(Object.entries(flags).filter(([, flag]) => flag.group === group));

const flanneld = (made: ManVersion): string =>
  page({ name: 'flanneld', section: 8, about: 'gives this host its part of an overlay network', ...made }, [
    ...section('Synopsis', [`${bold('flanneld')} [flags]`]),
    ...section('Description', [
      ...paragraph(
        'flanneld takes a subnet for this host out of a range that is shared through etcd, makes the routes to the subnets of all other hosts, and keeps them right. Docker gives its containers addresses of that subnet. It takes the place of flannel, with the same flags, keys and files.',
      ),
      ...paragraph(
        'One dash or two are the same. A value follows = or is the next word; a boolean takes its value after = only. The first word that is no flag ends the flags. A flag on the command line wins over its variable in the environment.',
      ),
    ]),
    ...section('Options', [
      ...FLAG_GROUPS.flatMap((group) =>
        subsection(group, flagLines(flagsOfGroup(group), ENVIRONMENT_PREFIX)),
      ),
      ...tagged(bold('--help'), 'List the flags.'),
    ]),
    ...section('Signals', [
      ...tagged(
        bold('SIGTERM, SIGINT'),
        'End. Devices, routes, rules and the lease stay, and packets are forwarded as before. The second one ends it at once.',
      ),
    ]),
    ...section('Exit status', [
      ...tagged(bold('0'), 'Ended by SIGTERM or SIGINT.'),
      ...tagged(
        bold('1'),
        'The start is impossible: one line on standard error has the reason and what to do.',
      ),
      ...tagged(bold('2'), 'The command line can not be read, or the address of the health server is taken.'),
    ]),
    ...section('Files', FILES),
    ...section('See also', [
      `${pageOf('flanneld.conf', 5)}, ${pageOf('weft', 8)}, ${pageOf('weft-doctor', 8)}, ${pageOf('mk-docker-opts', 8)}`,
    ]),
  ]);

/** How systemd reads such a file (EnvironmentFile= in systemd.exec(5)). */
const SYNTAX = [
  'Each line is NAME=value. Empty lines and lines that begin with # are ignored. A value with blanks stands in double quotes. Nothing is expanded.',
  'The file may hold a password: it belongs to root and has the mode 0600. A change takes effect at the next start of the unit.',
];

const flanneldConf = (made: ManVersion): string =>
  page({ name: 'flanneld.conf', section: 5, about: 'settings of flanneld.service', ...made }, [
    ...section('Synopsis', [bold('/etc/weft/flanneld.conf')]),
    ...section('Description', [
      ...paragraph(
        'The unit flanneld.service reads this file into the environment of flanneld. Each flag of flanneld but --version is a variable here.',
      ),
      ...SYNTAX.flatMap(paragraph),
      ...paragraph('A file /etc/default/flanneld of an earlier version is read before this one.'),
    ]),
    ...section('Variables', [
      ...tagged(
        bold('FLANNELD_OPTIONS'),
        'Flags of the command line, separated by blanks. They win over variables.',
      ),
      ...variableLines(flags, ENVIRONMENT_PREFIX),
    ]),
    ...section('See also', [`${pageOf('flanneld', 8)}, ${pageOf('systemd.exec', 5)}`]),
  ]);

const storeConf = (made: ManVersion): string =>
  page({ name: 'store.conf', section: 5, about: 'settings of weft-store.service', ...made }, [
    ...section('Synopsis', [bold('/etc/weft/store.conf')]),
    ...section('Description', [
      ...paragraph(
        "The unit weft-store.service reads this file into the environment of the embedded store, which serves etcd's API to a site without etcd. Each flag of weft store serve is a variable here.",
      ),
      ...SYNTAX.flatMap(paragraph),
    ]),
    ...section('Variables', [
      ...tagged(
        bold('WEFT_STORE_OPTIONS'),
        'Flags of the command line, separated by blanks. They win over variables.',
      ),
      ...variableLines(STORE_FLAGS.serve, STORE_ENVIRONMENT),
    ]),
    ...section('See also', [`${pageOf('weft-store', 8)}, ${pageOf('systemd.exec', 5)}`]),
  ]);

function mkDockerOpts(made: ManVersion): string {
  const [first = '', ...more] = MK_DOCKER_OPTS_USAGE.split('\n');
  const end = more.findIndex((line) => /^[A-Z_]+ {2}/.test(line));
  const isFlag = more.findIndex((line) => /^ {2}-/.test(line));
  return page(
    {
      name: 'mk-docker-opts',
      section: 8,
      about: "what flanneld wrote, as options of Docker's daemon",
      ...made,
    },
    [
      ...section('Synopsis', proseLines([first]).slice(1)),
      ...section('Description', [
        ...proseLines(more.slice(0, isFlag)),
        ...paragraph("flannel's name of this program is mk-docker-opts.sh."),
      ]),
      ...section('Options', proseLines(more.slice(isFlag, end))),
      ...section('Environment', proseLines(more.slice(end))),
      ...section('See also', [`${pageOf('flanneld', 8)}, ${pageOf('dockerd', 8)}`]),
    ],
  );
}
