/**
 * Drop-ins for hosts with Docker's network driver, by the unit that they are for. The same as the files of that name
 * in packaging/systemd/, which have the reasons.
 */
export const DRIVER_DROP_INS = {
  'docker.service': `[Unit]
Wants=weft-docker.socket
After=weft-docker.socket
`,
  'flanneld.service': `[Unit]
Wants=modprobe@bridge.service modprobe@veth.service
After=modprobe@bridge.service modprobe@veth.service
Wants=weft-namespace.service
After=weft-namespace.service

[Service]
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_BIND_SERVICE
RestrictNamespaces=net
RuntimeDirectory=docker/plugins
`,
} as const;
