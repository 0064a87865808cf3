import { request } from 'node:http';
import type { DockerApi, DockerContainer, DockerEvent, DockerNetwork } from '#src/docker/docker-api.ts';
import { WeftError } from '#src/lib/errors.ts';

const V = '/v1.40';
export function connectDocker(socketPath: string): DockerApi {
  const call = (method: string, path: string, signal: AbortSignal, body?: unknown) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const req = request({ socketPath, method, path: V + path, signal, headers: { host: 'd', 'content-type': 'application/json', ...(text && { 'content-length': Buffer.byteLength(text) }) } }, (res) => {
        let all = '';
        res.setEncoding('utf8');
        res.on('data', (c: string) => { all += c; });
        res.on('end', () => resolve({ status: res.statusCode ?? 0, text: all }));
        res.on('error', reject);
      });
      req.on('error', (e) => reject(new WeftError('docker-api', e.message)));
      req.end(text);
    });
  return {
    async networks(driver, signal) {
      const list = JSON.parse((await call('GET', `/networks?filters=${encodeURIComponent(JSON.stringify({ driver: [driver] }))}`, signal)).text);
      const all: DockerNetwork[] = [];
      for (const { Id } of list) {
        const n = JSON.parse((await call('GET', `/networks/${Id}`, signal)).text);
        if (!n.Id) continue;
        all.push({ id: n.Id, name: n.Name, options: n.Options ?? {}, labels: n.Labels ?? {}, endpoints: Object.entries<any>(n.Containers ?? {}).map(([container, e]) => ({ container, name: e.Name, endpoint: e.EndpointID, ipv4: e.IPv4Address, ipv6: e.IPv6Address, mac: e.MacAddress })) });
      }
      return all;
    },
    async createNetwork(n, signal) {
      const r = await call('POST', '/networks/create', signal, { Name: n.name, CheckDuplicate: true, Driver: n.driver, Options: n.options, Labels: n.labels, Internal: n.internal, EnableIPv6: n.enableIpv6, IPAM: { Driver: n.ipam.driver, Options: n.ipam.options, Config: n.ipam.config.map((c) => ({ Subnet: c.subnet, Gateway: c.gateway, AuxiliaryAddresses: c.auxiliary })) } });
      if (r.status !== 201) throw new WeftError('docker-api', JSON.parse(r.text).message);
      return JSON.parse(r.text).Id;
    },
    async removeNetwork(id, signal) {
      const r = await call('DELETE', `/networks/${id}`, signal);
      if (r.status === 403) return false;
      if (r.status >= 400 && r.status !== 404) throw new WeftError('docker-api', r.text);
      return true;
    },
    async container(id, signal) {
      const r = await call('GET', `/containers/${id}/json`, signal);
      if (r.status !== 200) return undefined;
      const c = JSON.parse(r.text);
      const networks = Object.fromEntries(Object.entries<any>(c.NetworkSettings.Networks).map(([k, a]) => [k, { networkId: a.NetworkID, endpointId: a.EndpointID, ipv4: a.IPAddress, ipv6: a.GlobalIPv6Address, mac: a.MacAddress, aliases: a.Aliases ?? [] }]));
      return { id: c.Id, name: c.Name.slice(1), running: c.State.Running, pid: c.State.Pid, image: c.Image, networks } satisfies DockerContainer;
    },
    async *events(signal) {
      const req = request({ socketPath, path: `${V}/events?filters=${encodeURIComponent(JSON.stringify({ type: ['container', 'network'] }))}`, signal, headers: { host: 'd' } });
      const res = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => { req.on('response', resolve); req.on('error', reject); req.end(); });
      let rest = '';
      for await (const chunk of res.setEncoding('utf8')) {
        rest += chunk;
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (line === '') continue;
          const e = JSON.parse(line);
          const key = `${e.Type} ${e.Action}`;
          const made = ({ 'container start': () => ({ type: 'start', container: e.Actor.ID }), 'container die': () => ({ type: 'die', container: e.Actor.ID }), 'container rename': () => ({ type: 'rename', container: e.Actor.ID }), 'network connect': () => ({ type: 'connect', network: e.Actor.ID, container: e.Actor.Attributes.container }) } as Record<string, () => DockerEvent>)[key];
          if (made) yield made();
        }
      }
      throw new WeftError('docker-api', 'gone');
    },
  };
}
