#include "nsd-core/notify_systemd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum status notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (path == NULL || (path[0] != '/' && path[0] != '@')) {
		return ST_OK;
	}
	size_t len = strlen(path);
	if (len > sizeof(addr.sun_path)) {
		return ST_EIO;
	}
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@') {
		addr.sun_path[0] = '\0'; /* the abstract name space */
	}
	socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return ST_EIO;
	}
	ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&addr,
			   addr_len);
	close(fd);
	return n >= 0 ? ST_OK : ST_EIO;
}
