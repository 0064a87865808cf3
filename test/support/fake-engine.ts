import { createServer } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { scratchFolder } from './scratch-folder.ts';

/** By `METHOD PATH`, decoded. */
export type EngineAnswers = Readonly<Record<string, readonly [status: number, body: unknown]>>;

/** An engine that answers what it is asked, and what it was asked; 404 for all others. */
export async function fakeEngine(
  t: TestContext,
  answers: EngineAnswers,
  version: object = { ApiVersion: '1.41' },
) {
  const asked: string[] = [];
  const bodies: unknown[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    if (body !== '') bodies.push(JSON.parse(body));
    const what = `${request.method} ${decodeURIComponent(request.url ?? '')}`;
    asked.push(what);
    const [status, answer] =
      what === 'GET /version' ? [200, version] : (answers[what] ?? [404, { message: 'page not found' }]);
    response.writeHead(status);
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  });
  const socket = join(scratchFolder(t), 'docker.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.after(stop);
  const clock = new FakeClock({ epoch: 1_795_798_057_500 });
  return { components: { http: systemUnixHttp, clock }, socket, asked, bodies, stop };
}
