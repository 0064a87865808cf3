/**
 * Hosts with a flannel as distributions and guides install it: what is in their files. Settings are ours; paths, names and the
 * shape of the units are those of the packages that each comment names.
 */
type Texts = Readonly<Record<string, string>>;

/** Fedora's, CentOS' and RHEL's package flannel, with its wrapper. */
export const RPM_HOST: Texts = {
  '/usr/lib/systemd/system/flanneld.service': `[Unit]
Description=Flanneld overlay address etcd agent
After=network.target
Before=docker.service

[Service]
Type=notify
EnvironmentFile=/etc/sysconfig/flanneld
EnvironmentFile=-/etc/sysconfig/docker-network
ExecStart=/usr/bin/flanneld-start $FLANNEL_OPTIONS
ExecStartPost=/usr/libexec/flannel/mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker
Restart=on-failure

[Install]
WantedBy=multi-user.target
RequiredBy=docker.service
`,
  '/etc/sysconfig/flanneld': `# Flanneld configuration options
FLANNEL_ETCD_ENDPOINTS="http://192.0.2.1:2379"
FLANNEL_ETCD_PREFIX="/atomic.io/network"
FLANNEL_OPTIONS="-iface=\\"eth0\\" -ip-masq"
`,
  '/etc/sysconfig/docker-network': 'DOCKER_NETWORK_OPTIONS=\n',
  '/usr/bin/flanneld-start': `#!/bin/sh

exec /usr/bin/flanneld \\
	-etcd-endpoints=\${FLANNEL_ETCD_ENDPOINTS:-\${FLANNEL_ETCD}} \\
	-etcd-prefix=\${FLANNEL_ETCD_PREFIX:-\${FLANNEL_ETCD_KEY}} \\
	"$@"
`,
  '/usr/lib/systemd/system/docker.service': '[Service]\nExecStart=/usr/bin/dockerd $DOCKER_NETWORK_OPTIONS\n',
  '/usr/lib/systemd/system/docker.service.d/flannel.conf':
    '[Service]\nEnvironmentFile=-/run/flannel/docker\n',
  '/etc/systemd/system/docker.service.requires/flanneld.service': '',
};

/** An early one of the same package: the unit starts flanneld itself, with older names. */
export const OLD_RPM_HOST: Texts = {
  '/usr/lib/systemd/system/flanneld.service': `[Service]
Type=notify
EnvironmentFile=/etc/sysconfig/flanneld
ExecStart=/usr/bin/flanneld -etcd-endpoints=\${FLANNEL_ETCD} -etcd-prefix=\${FLANNEL_ETCD_KEY} $FLANNEL_OPTIONS
`,
  '/etc/sysconfig/flanneld': `FLANNEL_ETCD="http://192.0.2.1:2379"
FLANNEL_ETCD_KEY="/coreos.com/network"
#FLANNEL_OPTIONS=""
`,
};

/** CoreOS Container Linux 1409 to 2512 with the drop-ins of its Kubernetes guide. /run is as after a boot. */
export const COREOS_HOST: Texts = {
  '/usr/lib/systemd/system/flanneld.service': `[Unit]
Description=flannel - Network fabric for containers (System Application Container)
Requires=flannel-docker-opts.service

[Service]
Type=notify
Environment="FLANNEL_IMAGE_TAG=v0.9.1"
Environment="FLANNEL_OPTS=--ip-masq=true"
Environment="RKT_RUN_ARGS=--uuid-file-save=/var/lib/coreos/flannel-wrapper.uuid"
EnvironmentFile=-/run/flannel/options.env
ExecStartPre=/sbin/modprobe ip_tables
ExecStartPre=/usr/bin/mkdir --parents /var/lib/coreos /run/flannel
ExecStart=/usr/lib/coreos/flannel-wrapper $FLANNEL_OPTS
ExecStop=-/usr/bin/rkt stop --uuid-file=/var/lib/coreos/flannel-wrapper.uuid
`,
  '/usr/lib/systemd/system/flannel-docker-opts.service': `[Service]
Type=oneshot
Environment="FLANNEL_IMAGE_ARGS=--exec=/opt/bin/mk-docker-opts.sh"
ExecStart=/usr/lib/coreos/flannel-wrapper -d /run/flannel/flannel_docker_opts.env -i
`,
  '/etc/systemd/system/flanneld.service.d/40-ExecStartPre-symlink.conf': `[Service]
ExecStartPre=/usr/bin/ln -sf /etc/flannel/options.env /run/flannel/options.env
`,
  '/etc/systemd/system/flanneld.service.d/50-network-config.conf': `[Service]
Environment=ETCDCTL_ENDPOINTS=http://192.0.2.1:2379
ExecStartPre=/usr/bin/etcdctl set /coreos.com/network/config '{"Network":"10.2.0.0/16", "Backend": {"Type": "vxlan"}}'
`,
  '/etc/flannel/options.env': `FLANNELD_IFACE=192.0.2.10
FLANNELD_ETCD_ENDPOINTS=http://192.0.2.1:2379
`,
  '/usr/lib/systemd/system/docker.service': `[Service]
EnvironmentFile=-/run/flannel/flannel_docker_opts.env
ExecStart=/usr/bin/dockerd $DOCKER_OPT_BIP $DOCKER_OPT_MTU $DOCKER_OPT_IPMASQ
`,
  '/etc/systemd/system/docker.service.d/40-flannel.conf':
    '[Unit]\nRequires=flanneld.service\nAfter=flanneld.service\n',
};

/** A unit by hand, as most guides have it: flanneld of a release in /usr/local/bin, flags over lines. */
export const HAND_HOST: Texts = {
  '/etc/systemd/system/flanneld.service': `[Unit]
Description=flannel

[Service]
Environment="FLANNELD_ETCD_USERNAME=root" "FLANNELD_ETCD_PASSWORD=pa%%ss w\\"rd"
Environment=FLANNELD_IFACE=eth9 GOMAXPROCS=1
ExecStart=/usr/local/bin/flanneld \\
  # the servers
  -etcd-endpoints=http://192.0.2.1:2379,http://192.0.2.2:2379 \\
  -iface=eth0 -iface eth1 --ip-masq=true --healthz-port=80 -logtostderr
`,
};
