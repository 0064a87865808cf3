import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandJob, ShellCommand } from '#src/backend/job.ts';
import { silentLogger } from '#src/lib/log.ts';
import { commandJobs, formatCommand } from '#src/node/jobs/command-jobs.ts';
import { Preparation } from '#src/node/jobs/preparation.ts';
import type { ShellRequest, ShellResult } from '#src/sys/shell.ts';

const NEVER = new AbortController().signal;

/** A shell that answers what a test says, and remembers what it was asked for. */
function shellThat(result: Partial<ShellResult> = {}) {
  const asked: ShellRequest[] = [];
  const run = async (request: ShellRequest): Promise<ShellResult> => {
    asked.push(request);
    return { code: 0, output: '', isCut: false, ...result };
  };
  return { asked, run };
}

const COMMAND: ShellCommand = {
  name: 'SubnetAddCommand',
  text: 'ip route add $SUBNET via $PUBLIC_IP',
  variables: { SUBNET: '10.5.3.0/24', PUBLIC_IP: '172.16.0.3' },
  stdin: 'data\n',
};
const JOB: CommandJob = { kind: 'command', key: 'commands for 10.5.3.0/24', atEnd: 'leave', start: COMMAND };
const how = { lost: () => {}, signal: NEVER };

test('a command gets its text, its variables and its input as they are', async () => {
  const { asked, run } = shellThat();
  const handler = commandJobs(run, silentLogger);
  await handler.start(JOB, how);
  await handler.stop(JOB, NEVER);
  const { text, variables, stdin } = COMMAND;
  assert.deepEqual(asked, [{ text, variables, stdin, timeoutMs: 30_000, signal: NEVER }]);
});

test('a failure is the exit code and the last line, on one line', async () => {
  const failure = (result: Partial<ShellResult>) =>
    commandJobs(shellThat(result).run, silentLogger)
      .start(JOB, how)
      .then(
        () => assert.fail(),
        (error: Error) => error.message,
      );
  assert.equal(
    await failure({ code: 2, output: 'trying\nRTNETLINK answers:\tFile exists' }),
    String.raw`SubnetAddCommand failed: exit code 2: RTNETLINK answers:\tFile exists`,
  );
  assert.equal(await failure({ code: 3 }), 'SubnetAddCommand failed: exit code 3');
  assert.equal(await failure({ code: 124 }), 'SubnetAddCommand failed: it did not end within 30 s');
  assert.equal((await failure({ code: 1, output: 'x'.repeat(5_000) })).length, 239);
});

test('the command line of a plan can be typed: values are quoted, and not part of the text', () => {
  assert.equal(
    formatCommand({ ...COMMAND, text: "echo '$SUBNET'", variables: { SUBNET: '10.5.3.0/24', X: "it's" } }),
    String.raw`SUBNET=10.5.3.0/24 X='it'\''s' sh -c 'echo '\''$SUBNET'\'''`,
  );
});

test('the command before the lease runs once for a network, and its failure is the start’s', async () => {
  const { asked, run } = shellThat({ output: 'key' });
  const preparation = new Preparation({ shell: run, log: silentLogger });
  assert.equal(await preparation.outputOf(undefined), undefined);
  assert.equal(await preparation.outputOf(COMMAND), 'key');
  assert.equal(await preparation.outputOf({ ...COMMAND }), 'key');
  assert.equal(asked.length, 1);
  const failing = new Preparation({ shell: shellThat({ code: 1, output: 'no' }).run, log: silentLogger });
  await assert.rejects(failing.outputOf({ ...COMMAND, name: 'PreStartupCommand' }), {
    code: 'backend-job',
    message: 'PreStartupCommand failed: exit code 1: no',
  });
  const long = new Preparation({ shell: shellThat({ isCut: true }).run, log: silentLogger });
  await assert.rejects(long.outputOf(COMMAND), { message: /printed more than the 3000 characters/ });
  const key = new Preparation({ shell: shellThat({ output: '"'.repeat(1_600) }).run, log: silentLogger });
  await assert.rejects(key.outputOf(COMMAND), { message: /printed more than the 3000 characters/ });
});
