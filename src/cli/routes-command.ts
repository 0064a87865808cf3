import { readKnownPlaces } from '#src/cli/known-places.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { inTone, type Tone } from '#src/cli/screen.ts';
import { explainWay } from '#src/diagnose/routes/explain-way.ts';
import { openRouteReader } from '#src/diagnose/routes/route-reader.ts';
import type { WayReport } from '#src/diagnose/routes/way-report.ts';
import { WeftError } from '#src/lib/errors.ts';
import { parseIp } from '#src/lib/ip.ts';
import { systemFiles } from '#src/sys/files.ts';

/** `weft routes ADDRESS`: 0, and 1 when something keeps packets from going as they should. */
export const ROUTES = lookCommand({
  name: 'routes',
  takes: 'ADDRESS',
  help: [
    '  Whose address it is, which way packets to it go from this host, and why. "wanted" is what the kernel should have for',
    '  it, "kernel" what it would do now, for a packet of the host and for one of a container. It works without flanneld,',
    '  from what that wrote down. Exit code 1 when the way is another one than the wanted.',
  ],
  flags: {},
  async run(call, context) {
    const [word = '', ...more] = call.words;
    const ip = parseIp(word);
    if (ip === undefined || more.length > 0) {
      const what =
        more.length > 0
          ? 'it takes one address'
          : word === ''
            ? 'name an address'
            : `"${word}" is no address`;
      throw new WeftError('usage', what, { exitCode: 2, remedy: 'as "weft routes 10.0.65.2"' });
    }
    const { output, screen } = context;
    const reader = openRouteReader();
    try {
      const components = { files: systemFiles, kernel: reader.kernel };
      const { notes, ...facts } = await readKnownPlaces(components, call, context);
      const report = await explainWay(ip, facts, reader);
      if (call.options.json) output.print(JSON.stringify({ ...report, notes }, undefined, 2));
      else {
        for (const note of notes) output.print(inTone(note, 'warning', screen.hasColour));
        for (const line of formatWay(report, screen)) output.print(line);
      }
      return report.wrong.length === 0 ? 0 : 1;
    } finally {
      reader.close();
    }
  },
});

/** The report as lines, each with its sort in front. */
export function formatWay(report: WayReport, { hasColour }: { readonly hasColour: boolean }): string[] {
  const line = (sort: string, text: string, tone?: Tone): string =>
    inTone(`  ${sort.padEnd(10)} ${plainText(text)}`, tone, hasColour);
  const { text, why, wanted, kernel, wrong, place } = report;
  const isAllWanted = place === 'peer' && wrong.length === 0;
  return [
    plainText(text),
    ...why.map((reason) => line('why', reason)),
    ...wanted.map(({ kind, object, differences }) =>
      differences.length === 0
        ? line('wanted', `${kind} ${object}: there`)
        : line('wanted', `${kind} ${object}: ${differences.join(', ')}`, 'bad'),
    ),
    ...kernel.map(({ command, answer, isWanted }) =>
      line('kernel', `${command}: ${answer}`, isWanted ? undefined : 'bad'),
    ),
    ...wrong.flatMap(({ what, remedy }) => [
      line('wrong', what, 'bad'),
      ...(remedy === undefined ? [] : [line('mend', remedy)]),
    ]),
    ...(isAllWanted ? [line('right', 'packets to it go the wanted way', 'good')] : []),
  ];
}
