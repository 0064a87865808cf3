import type { Fact } from '#src/diagnose/facts/fact.ts';
import {
  type IpRule,
  type PolicyRoute,
  readIpRules,
  readPolicyRoutes,
} from '#src/diagnose/facts/ip-rules.ts';
import { openEye } from '#src/diagnose/trace/eye.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';

/** What is read of the host to explain a way. Nothing is changed by it. */
export interface RouteReader {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  /** Equals `ip route get TO from FROM iif BY`. */
  route(question: RouteQuestion): Promise<RouteDecision>;
  /** Equals `ip rule show`. */
  rules(): Promise<Fact<readonly IpRule[]>>;
  /** Equals `ip route show table all`. */
  routes(): Promise<Fact<readonly PolicyRoute[]>>;
  close(): void;
}

/** Of the network namespace of this process. */
export function openRouteReader(): RouteReader {
  const eye = openEye({ netlink: systemNetlink });
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
  return {
    kernel,
    route: (question) => eye.route(question),
    rules: () => readIpRules(systemCommands),
    routes: () => readPolicyRoutes(systemCommands),
    close() {
      eye.close();
      kernel.close();
    },
  };
}
