/** The text of `mk-docker-opts -h`; its manual page is made from it, too. */
export const MK_DOCKER_OPTS_USAGE = `mk-docker-opts [-f FLANNEL-ENV-FILE] [-d DOCKER-ENV-FILE] [-i] [-c] [-m] [-k COMBINED-KEY] [--ipv6] [--docker-version=auto|N]

Turns the file that flanneld writes into options for the Docker daemon.
  -f FILE  what flanneld wrote (default /run/flannel/subnet.env)
  -d FILE  what to write for dockerd's unit (default /run/docker_opts.env)
  -i       a variable for each option: DOCKER_OPT_BIP, DOCKER_OPT_IPMASQ, DOCKER_OPT_MTU, and for Docker 29
           DOCKER_OPT_ALLOW_DIRECT_ROUTING, DOCKER_OPT_BRIDGE_ACCEPT_FWMARK
  -c       one variable with all options (neither -i nor -c: both)
  -k KEY   the name of that variable (default DOCKER_OPTS)
  -m       leave --ip-masq out
  --ipv6   give the host's IPv6 subnet to dockerd's bridge, where the network has IPv6: --ipv6 and --fixed-cidr-v6, in
           DOCKER_OPT_IPV6 and DOCKER_OPT_FIXED_CIDR_V6; each is left out where dockerd has it already
  --docker-version=auto|N  Docker 29 and later get --allow-direct-routing and --bridge-accept-fwmark, by which they let the
           overlay's packets through with either firewall back end; auto (the default) asks the dockerd in PATH

FLANNELD_DOCKER_FWMARK  the mark that flanneld sets (default 0x2000); with 0 these two options are left out. The first one
           is left out as well where daemon.json says "firewall-backend": "iptables".
`;
