/** Ports of VXLAN: the kernel's, that of Docker's networks here, and IANA's, which Windows hosts use. */
export const USUAL_PORTS: readonly number[] = [8472, 8473, 4789];
