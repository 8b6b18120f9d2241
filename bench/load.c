// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * load ROLE ADDRESS PORT MILLISECONDS: does one thing as often as it can for so long, one at a time, and says how
 * often: `{"done": N, "lost": N}`.
 *
 *   ping-pong     one connection, one byte to and fro
 *   connections   connect, one byte to and fro, until the server closed, close
 *   flooded       the same, and before each connection some SYNs of a flood (flood.h), which nobody answers
 *   round-trips   one UDP socket, one datagram of a byte to and fro
 *   one-way       one UDP socket, datagrams of 64 bytes in bursts of 64, each burst acknowledged by one datagram:
 *                 nothing is lost for want of a reader, so what is counted arrived
 *
 * Rules: a failure is counted as lost, never as done; no wait is longer than PATIENCE, so a broken way ends too.
 */
#define _GNU_SOURCE
#include "endpoint.h"
#include "flood.h"

#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATIENCE 1000	 /* milliseconds */
#define SYNS_FOR_EACH 10 /* at 10,000 connections a second a flood of 100,000 */

static int connected(const union endpoint *e, int type)
{
	int fd = socket(e->any.sa_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	set_patience(fd, SO_RCVTIMEO, PATIENCE);
	set_patience(fd, SO_SNDTIMEO, PATIENCE);
	if (type == SOCK_STREAM)
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (connect(fd, &e->any, endpoint_size(e))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int byte_to_and_fro(int fd)
{
	char byte = 'x';

	return write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
}

static int one_connection(const union endpoint *e)
{
	int fd = connected(e, SOCK_STREAM);
	char byte;
	int done;

	if (fd < 0)
		return 0;
	done = byte_to_and_fro(fd) && read(fd, &byte, 1) == 0;
	close(fd);
	return done;
}

/* One burst; returns how many of it arrived. */
static int one_burst(int fd)
{
	static struct datagram datagram;
	struct burst_answer answer;

	datagram.burst++;
	for (int i = 0; i < BURST; i++) {
		datagram.is_last = i == BURST - 1;
		if (write(fd, &datagram, sizeof(datagram)) != sizeof(datagram))
			return 0;
	}
	while (read(fd, &answer, sizeof(answer)) == sizeof(answer))
		if (answer.burst == datagram.burst)
			return answer.received;
	return 0;
}

static int one_connection_in_flood(struct flood *flood, const union endpoint *e)
{
	for (int i = 0; i < SYNS_FOR_EACH; i++)
		flood_one(flood, e);
	return one_connection(e);
}

enum role { PING_PONG, CONNECTIONS, FLOODED, ROUND_TRIPS, ONE_WAY, ROLES };

static const char *const names[ROLES] = {"ping-pong", "connections", "flooded", "round-trips", "one-way"};

static enum role role_of(const char *name)
{
	for (int i = 0; i < ROLES; i++)
		if (!strcmp(names[i], name))
			return i;
	errx(2, "%s: no such role", name);
}

int main(int argc, char **argv)
{
	int64_t end, done = 0, tried = 0;
	struct flood flood = {};
	union endpoint e;
	enum role role;
	int fd = -1;

	if (argc != 5)
		errx(2, "usage: load ping-pong|connections|flooded|round-trips|one-way ADDRESS PORT MILLISECONDS");
	role = role_of(argv[1]);
	e = endpoint_of(argv[2], argv[3]);
	if (role == FLOODED)
		flood = flood_begin(&e);
	else if (role != CONNECTIONS) {
		fd = connected(&e, role == PING_PONG ? SOCK_STREAM : SOCK_DGRAM);
		if (fd < 0)
			err(1, "connect");
	}
	end = now_ns() + atoi(argv[4]) * 1000000LL;
	while (now_ns() < end) {
		tried += role == ONE_WAY ? BURST : 1;
		if (role == CONNECTIONS)
			done += one_connection(&e);
		else if (role == FLOODED)
			done += one_connection_in_flood(&flood, &e);
		else if (role == ONE_WAY)
			done += one_burst(fd);
		else
			done += byte_to_and_fro(fd);
	}
	printf("{\"done\": %lld, \"lost\": %lld}\n", (long long)done, (long long)(tried - done));
	return 0;
}
