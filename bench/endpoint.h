/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What load and serve share: addresses, clocks, failing.
 */
#ifndef PENSTOCK_BENCH_ENDPOINT_H
#define PENSTOCK_BENCH_ENDPOINT_H

#include <arpa/inet.h>
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Datagrams of the one-way measure go out in bursts; the server answers each burst with the number that came. */
enum { BURST = 64, PAYLOAD = 64 };

struct datagram {
	uint32_t burst;
	uint32_t is_last;
	uint8_t rest[PAYLOAD - 8];
};

struct burst_answer {
	uint32_t burst;
	uint32_t received;
};

union endpoint {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static inline socklen_t endpoint_size(const union endpoint *e)
{
	return e->any.sa_family == AF_INET ? sizeof(e->v4) : sizeof(e->v6);
}

static inline union endpoint endpoint_of(const char *address, const char *port)
{
	union endpoint e = {};

	if (inet_pton(AF_INET, address, &e.v4.sin_addr) == 1) {
		e.v4.sin_family = AF_INET;
		e.v4.sin_port = htons(atoi(port));
	} else if (inet_pton(AF_INET6, address, &e.v6.sin6_addr) == 1) {
		e.v6.sin6_family = AF_INET6;
		e.v6.sin6_port = htons(atoi(port));
	} else {
		errx(2, "%s is not an address", address);
	}
	return e;
}

static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void set_option(int socket, int level, int option, int value)
{
	if (setsockopt(socket, level, option, &value, sizeof(value)))
		err(1, "setsockopt %d %d", level, option);
}

static inline void set_patience(int socket, int option, int milliseconds)
{
	struct timeval t = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};

	if (setsockopt(socket, SOL_SOCKET, option, &t, sizeof(t)))
		err(1, "setsockopt timeout");
}

#endif
