/** Where dockerd finds the driver `weft` (moby's pkg/plugins/discovery.go). */
export const PLUGIN_SOCKET = '/run/docker/plugins/weft.sock';
/** `FileDescriptorName=` in weft-docker.socket. */
export const PASSED_NAME = 'docker-plugin';
