// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * serve ROLE ADDRESS PORT: the backend of one measure (its client is load.c).
 *
 * Rules: one thread, blocking calls only and as few as the role allows: what is measured is the way, so the ends
 * must cost little, and the same behind every peer. One connection at a time; the client opens no second.
 *   tcp-echo   every read is written back
 *   tcp-once   reads a request, answers one byte, closes first (it rests in TIME_WAIT here, so that the client does
 *              not run out of ports)
 *   udp-echo   every datagram goes back
 *   udp-count  answers each burst with the number of its datagrams that came
 */
#define _GNU_SOURCE
#include "endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int bound(const union endpoint *e, int type)
{
	int fd = socket(e->any.sa_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (e->any.sa_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, &e->any, endpoint_size(e)))
		err(1, "bind");
	if (type == SOCK_STREAM && listen(fd, 4096))
		err(1, "listen");
	return fd;
}

static int next_connection(int listening)
{
	int fd = accept4(listening, 0, 0, SOCK_CLOEXEC);

	if (fd < 0 && errno != ECONNABORTED && errno != EINTR)
		err(1, "accept");
	return fd;
}

static void tcp_echo(int listening)
{
	char buffer[4096];

	for (;;) {
		int fd = next_connection(listening);
		ssize_t n;

		if (fd < 0)
			continue;
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		while ((n = read(fd, buffer, sizeof(buffer))) > 0 && write(fd, buffer, n) == n)
			;
		close(fd);
	}
}

static void tcp_once(int listening)
{
	char byte;

	for (;;) {
		int fd = next_connection(listening);

		if (fd < 0)
			continue;
		/* A connection that is never used must not stop the others. */
		set_patience(fd, SO_RCVTIMEO, 2000);
		if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) != 1)
			warn("write");
		close(fd);
	}
}

/* A datagram, where it came from, and (for the answer's source) which of our addresses it was sent to. */
struct received {
	union endpoint peer;
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	char data[2048];
	struct iovec vector;
	struct msghdr header;
};

static ssize_t receive(int fd, struct received *r)
{
	r->vector = (struct iovec){r->data, sizeof(r->data)};
	r->header = (struct msghdr){.msg_name = &r->peer,
				    .msg_namelen = sizeof(r->peer),
				    .msg_iov = &r->vector,
				    .msg_iovlen = 1,
				    .msg_control = r->control,
				    .msg_controllen = sizeof(r->control)};
	return recvmsg(fd, &r->header, 0);
}

static void answer(int fd, struct received *r, void *data, size_t size)
{
	struct cmsghdr *info = CMSG_FIRSTHDR(&r->header);

	/* The interface stays open: routing knows the way back. */
	if (info && info->cmsg_type == IP_PKTINFO)
		((struct in_pktinfo *)CMSG_DATA(info))->ipi_ifindex = 0;
	else if (info && info->cmsg_type == IPV6_PKTINFO)
		((struct in6_pktinfo *)CMSG_DATA(info))->ipi6_ifindex = 0;
	r->vector = (struct iovec){data, size};
	if (sendmsg(fd, &r->header, 0) < 0)
		warn("sendmsg");
}

static void udp_echo(int fd)
{
	struct received r;

	for (;;) {
		ssize_t n = receive(fd, &r);

		if (n >= 0)
			answer(fd, &r, r.data, n);
	}
}

static void udp_count(int fd)
{
	struct burst_answer count = {};
	struct datagram datagram;
	struct received r;

	for (;;) {
		if (receive(fd, &r) != sizeof(datagram))
			continue;
		memcpy(&datagram, r.data, sizeof(datagram));
		if (datagram.burst != count.burst)
			count = (struct burst_answer){.burst = datagram.burst};
		count.received++;
		if (datagram.is_last)
			answer(fd, &r, &count, sizeof(count));
	}
}

int main(int argc, char **argv)
{
	union endpoint e;
	int fd;

	if (argc != 4)
		errx(2, "usage: serve tcp-echo|tcp-once|udp-echo|udp-count ADDRESS PORT");
	e = endpoint_of(argv[2], argv[3]);
	if (!strncmp(argv[1], "tcp", 3)) {
		fd = bound(&e, SOCK_STREAM);
	} else {
		fd = bound(&e, SOCK_DGRAM);
		set_option(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
		if (e.any.sa_family == AF_INET)
			set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
		else
			set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	}
	if (write(1, "ready\n", 6) != 6)
		err(1, "write");
	if (!strcmp(argv[1], "tcp-echo"))
		tcp_echo(fd);
	else if (!strcmp(argv[1], "tcp-once"))
		tcp_once(fd);
	else if (!strcmp(argv[1], "udp-echo"))
		udp_echo(fd);
	else if (!strcmp(argv[1], "udp-count"))
		udp_count(fd);
	errx(2, "%s: no such role", argv[1]);
}
