import { type Dialer, systemDialer } from '#src/sys/dialer.ts';
import { type EchoServers, systemEchoServers } from '#src/sys/echo-server.ts';
import { type Icmp, systemIcmp } from '#src/sys/icmp-socket.ts';

/** The sockets by which hosts measure each other. */
export interface MeasuringSockets {
  readonly icmp: Icmp;
  readonly dialer: Dialer;
  readonly echoServers: EchoServers;
}

export const systemMeasuringSockets: MeasuringSockets = {
  icmp: systemIcmp,
  dialer: systemDialer,
  echoServers: systemEchoServers,
};
