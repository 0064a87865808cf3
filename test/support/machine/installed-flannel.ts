import { noPeer, PEERS } from '../flanneld.ts';
import type { CleanMachine } from './clean-machine.ts';
import { PREFIX, STORE } from './seed-servers.ts';

/**
 * Stands for flannel v0.9.1 where WEFT_PEER_FLANNELD gives no real one: from the flags that the real one gets, it makes the
 * device, addresses, routes and rules that the real one makes, and the lease and subnet.env that it writes (v0.9.1:
 * backend/vxlan, network/iptables.go, main.go). It knows its one peer and both MACs beforehand, and it follows nothing.
 */
const STAND_IN = `#!/bin/sh
set -eu
for word; do
  case $word in
    *-iface=*) own=\${word#*=} ;;
    *-etcd-endpoints=*) store=\${word#*=} ;;
    *-etcd-prefix=*) prefix=\${word#*=} ;;
  esac
done
number=\${own##*.}
peer=$((383 - number))
mac() { printf '82:4b:b6:2f:54:%02x' "$1"; }
lease="{\\"PublicIP\\":\\"$own\\",\\"BackendType\\":\\"vxlan\\",\\"BackendData\\":{\\"VtepMAC\\":\\"$(mac "$number")\\"}}"
curl -sSf -X PUT "$store/v2/keys$prefix/subnets/10.0.$number.0-24" --data-urlencode "value=$lease" -d ttl=86400 >/dev/null
if ! ip link show flannel.1 >/dev/null 2>&1; then
  ip link add flannel.1 address "$(mac "$number")" type vxlan id 1 local "$own" dev eth0 dstport 8472 nolearning
  ip address add "10.0.$number.0/32" dev flannel.1
  ip link set flannel.1 up
  ip neigh replace "10.0.$peer.0" lladdr "$(mac "$peer")" dev flannel.1 nud permanent
  bridge fdb add "$(mac "$peer")" dev flannel.1 dst "172.16.70.$peer" self permanent
  ip route add "10.0.$peer.0/24" via "10.0.$peer.0" dev flannel.1 onlink
  iptables -t nat -A POSTROUTING -s 10.0.0.0/16 -d 10.0.0.0/16 -j RETURN
  iptables -t nat -A POSTROUTING -s 10.0.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
  iptables -t nat -A POSTROUTING ! -s 10.0.0.0/16 -d "10.0.$number.0/24" -j RETURN
  iptables -t nat -A POSTROUTING ! -s 10.0.0.0/16 -d 10.0.0.0/16 -j MASQUERADE
  iptables -A FORWARD -s 10.0.0.0/16 -j ACCEPT
  iptables -A FORWARD -d 10.0.0.0/16 -j ACCEPT
fi
mkdir -p /run/flannel
printf 'FLANNEL_NETWORK=10.0.0.0/16\\nFLANNEL_SUBNET=10.0.%s.1/24\\nFLANNEL_MTU=1450\\nFLANNEL_IPMASQ=true\\n' "$number" \\
  >/run/flannel/subnet.env
systemd-notify --ready
exec sleep infinity
`;

/** What flannel's own script writes with `-k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker`. */
const MK_DOCKER_OPTS = `#!/bin/sh
set -eu
. /run/flannel/subnet.env
echo "DOCKER_NETWORK_OPTIONS=\\" --bip=$FLANNEL_SUBNET --ip-masq=false --mtu=$FLANNEL_MTU\\"" >/run/flannel/docker
`;

const DOCKER_DROP_IN = '[Service]\nEnvironmentFile=-/run/flannel/docker\n';

/** What the unit of a flannel is, wherever its programs are. */
const unit = (service: string, install: string): string => `[Unit]
Description=Flanneld overlay address etcd agent
After=network-online.target
Before=docker.service

[Service]
Type=notify
NotifyAccess=all
${service}
Restart=on-failure

[Install]
WantedBy=multi-user.target
${install}`;

/** The real flannel, or what stands for it. */
function putFlanneld(machine: CleanMachine, path: string): void {
  if (noPeer(2) === false && PEERS.v2 !== undefined) machine.copyIn(PEERS.v2, path);
  else machine.write(path, STAND_IN, 0o755);
}

/** A flannel as guides have it: programs in /usr/local/bin, units by hand, Docker's unit with flannel's options. */
export async function installByHand(machine: CleanMachine): Promise<void> {
  const flags = `-etcd-endpoints=${STORE} -etcd-prefix=${PREFIX} -iface=${machine.address} -ip-masq`;
  machine.write('/usr/local/bin/mk-docker-opts.sh', MK_DOCKER_OPTS, 0o755);
  putFlanneld(machine, '/usr/local/bin/flanneld');
  machine.write(
    '/etc/systemd/system/flanneld.service',
    unit(
      `ExecStart=/usr/local/bin/flanneld ${flags}
ExecStartPost=/usr/local/bin/mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker`,
      '',
    ),
  );
  machine.write(
    '/etc/systemd/system/docker.service.d/flannel.conf',
    `${DOCKER_DROP_IN}ExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_NETWORK_OPTIONS\n`,
  );
  await machine.script('systemctl daemon-reload; systemctl enable --now flanneld; systemctl restart docker');
}

/** $1 is the number of versions that stay: what systemd's macros %systemd_preun and %systemd_postun were in CentOS 7. */
const SPEC = `Name: flannel
Version: 0.7.1
Release: 4.el7
Summary: Stands for flannel's rpm
License: none
AutoReqProv: no
%description
%install
cd /tmp/flannel
install -D -t %{buildroot}/usr/bin program/flanneld flanneld-start
install -D -t %{buildroot}/usr/libexec/flannel mk-docker-opts.sh
install -D -m 644 -t %{buildroot}/usr/lib/systemd/system flanneld.service
install -D -m 644 -t %{buildroot}/usr/lib/systemd/system/docker.service.d flannel.conf
install -D -m 644 flanneld.sysconfig %{buildroot}/etc/sysconfig/flanneld
%preun
if [ $1 = 0 ]; then
  systemctl --no-reload disable flanneld.service >/dev/null 2>&1 || :
  systemctl stop flanneld.service >/dev/null 2>&1 || :
fi
%postun
systemctl daemon-reload >/dev/null 2>&1 || :
%files
/usr/bin/flanneld
/usr/bin/flanneld-start
/usr/libexec/flannel/mk-docker-opts.sh
/usr/lib/systemd/system/flanneld.service
/usr/lib/systemd/system/docker.service.d/flannel.conf
%config(noreplace) /etc/sysconfig/flanneld
`;

/** A flannel as the rpm of CentOS 7 and RHEL 7 lays it out, installed by rpm. Each stop of its unit stops Docker. */
export async function installFlannelRpm(machine: CleanMachine): Promise<void> {
  const put = (name: string, text: string) => machine.write(`/tmp/flannel/${name}`, text);
  put('mk-docker-opts.sh', MK_DOCKER_OPTS);
  putFlanneld(machine, '/tmp/flannel/program/flanneld');
  put(
    'flanneld-start',
    '#!/bin/sh\nexec /usr/bin/flanneld -etcd-endpoints=$FLANNEL_ETCD_ENDPOINTS -etcd-prefix=$FLANNEL_ETCD_PREFIX "$@"\n',
  );
  put(
    'flanneld.service',
    unit(
      `EnvironmentFile=/etc/sysconfig/flanneld
ExecStart=/usr/bin/flanneld-start $FLANNEL_OPTIONS
ExecStartPost=/usr/libexec/flannel/mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker`,
      'RequiredBy=docker.service\n',
    ),
  );
  put('flannel.conf', DOCKER_DROP_IN);
  put(
    'flanneld.sysconfig',
    `FLANNEL_ETCD_ENDPOINTS="${STORE}"\nFLANNEL_ETCD_PREFIX="${PREFIX}"\nFLANNEL_OPTIONS="-iface=${machine.address} -ip-masq"\n`,
  );
  put('flannel.spec', SPEC);
  // Docker's unit of CentOS 7 took these options by itself.
  machine.write(
    '/etc/systemd/system/docker.service.d/options.conf',
    '[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// $DOCKER_NETWORK_OPTIONS\n',
  );
  await machine.script(`
    rpmbuild -bb --quiet --define '_topdir /tmp/rpm' /tmp/flannel/flannel.spec
    rpm -i /tmp/rpm/RPMS/x86_64/flannel-*.rpm
    rm -r /tmp/rpm /tmp/flannel
    systemctl daemon-reload; systemctl enable --now flanneld; systemctl restart docker`);
}
