import { spawnSync } from 'node:child_process';
import { PluginServer } from '#src/driver/plugin-server.ts';
import { PASSED_NAME } from '#src/driver/plugin-socket.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { passedSockets } from '#src/sys/passed-sockets.ts';
import { RecordingDrivers } from './recording-drivers.ts';

/*
 * A process that serves Docker's plugin protocol on the socket that systemd hands it over, until SIGTERM. It prints one
 * line when it serves: the descriptors that a child of it gets.
 */
const { network, addresses } = new RecordingDrivers();
const server = new PluginServer(
  { network, addresses, clock: systemClock, logger: silentLogger },
  { passed: passedSockets(process.env, process.pid).get(PASSED_NAME) },
);
await server.start();
const { stdout } = spawnSync('ls', ['/proc/self/fd'], { encoding: 'utf8' });
process.stdout.write(`${stdout.trim().replaceAll('\n', ' ')}\n`);
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
