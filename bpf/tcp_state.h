/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a TCP segment means for its flow.
 *
 * Decides: the flow's state, and when it is promoted, begun anew or let rest.
 * Rules: as follows.
 * Half-open (own table, evicted by least recent use, so that a flood of SYNs pushes out only half-open flows):
 *   SYN --backend's SYN-ACK of ISN+1 (or of data with the SYN, too)--> SYN_ACK
 *       --client's ACK of exactly the backend's ISN+1 (if it took data with the SYN, up to 64 KiB more)--> established
 *   RST: RESET, and not gone, for we cannot tell whether it was believed. A client that goes on all the same is what it
 *   would have been (a handshake's last ACK establishes, and counts), or is met in mid-stream anew.
 *   ADOPTED (met in mid-stream) --backend answers, not SYN or RST--> ADOPTED_BOTH
 *       --client's ACK of about where the backend is--> established
 * Established (never evicted):
 *   one FIN: CLOSING, still long-lived (half-close is legal, RFC 9293 section 3.6), but for less than an open one that
 *   says nothing; both: CLOSED, rests. A backend whose FIN does not acknowledge the client's closes by itself.
 *   RST: if its number may be right (a blind one, RFC 5961, must not cost the flow), RESET: a short rest and not
 *   removal; when the sender of the RST goes on with anything else, the flow is what it was. It is not believed of who
 *   has not sent as much as would lie before it: the receiver would not, and a client could so have its connection
 *   forgotten, and no longer counted (policy.h), that its backend has open. (nf_conntrack asks for exactly what the
 *   receiver has acknowledged, or for the place behind the sender's last segment: that would cost each packet a write.
 *   Nor would it be sure: an RST may be lost behind us, or its checksum be wrong.) A FIN may overtake data that was
 *   lost; then its number is not kept.
 *   SYN from the client on a CLOSED or RESET flow: a new connection on an old tuple. On a live one: the backend
 *   answers it with a challenge ACK (RFC 5961 section 4); we pass both.
 *   What an end has acknowledged (`expects`) is what its direction's last ACK says, be that forged: who knows the tuple
 *   can so have the other end's next FIN or RST overlooked, until the end itself speaks again. No bound would help: an
 *   ACK may rightly move it by as much as a window, 1 GiB, so one forgery in two would pass, or in four, and stay, if
 *   only forward counted. Connections begin at other numbers under the same entry, too (a SYN on a live flow).
 * Must never: look at payload, or drop a segment of a known flow.
 */
#ifndef PENSTOCK_TCP_STATE_H
#define PENSTOCK_TCP_STATE_H

#include "flow.h"

/* What the caller must do with the packet. */
enum tcp_step {
	STEP_PASS,    /* translate it */
	STEP_PROMOTE, /* the handshake is complete: move the pair, then translate */
	STEP_REOPEN,  /* a new connection on an old tuple: forget the pair, begin anew */
};

/* How far into its window a handshake's last ACK may be, when the bare ACK itself was lost. */
#define HANDSHAKE_DATA_MAX 65536

/*
 * How far from the backend's last number a client's ACK may be that belongs to a connection met in mid-stream. A
 * backend may answer strangers (a challenge ACK, RFC 5961 section 5), so only the number tells: one guess in 1024 is
 * right.
 */
#define ADOPTED_WITHIN (1 << 21)

/*
 * How far beyond its receiver's last ACK an RST may be (and a FIN, with its data, or before it when it is sent
 * again): as much as may be under way on a long fat pipe. The receiver believes only the very next number (RFC 5961
 * section 3.2), which we do not know; a blind RST is right once in 512.
 */
#define RST_WITHIN (1 << 23)

static __always_inline int is_first_syn(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline void set_state(struct flow *f, struct flow *twin, __u8 state)
{
	f->state = state;
	twin->state = state;
}

/* Has the sender of a backend's RST seen the handshake? It acknowledges the SYN, or stands where its SYN-ACK did. */
static __always_inline int may_refuse(const struct flow *reply, const struct flow *request, __u32 seq, __u32 ack)
{
	if (reply->state == FLOW_SYN)
		return ack - (request->isn + 1) <= request->early;
	return reply->state != FLOW_SYN_ACK || seq - reply->isn <= 1;
}

static __always_inline enum tcp_step half_open_reply(struct flow *f, struct flow *twin, __u8 tcp_flags, __u32 seq,
						     __u32 ack)
{
	if (tcp_flags & TCP_RST) {
		if (may_refuse(f, twin, seq, ack)) {
			f->flags |= FLOW_RST;
			set_state(f, twin, FLOW_RESET);
		}
		return STEP_PASS;
	}
	if (tcp_flags & TCP_FIN)
		f->flags |= FLOW_FIN;
	if (f->state == FLOW_ADOPTED || f->state == FLOW_ADOPTED_BOTH) {
		if (!(tcp_flags & TCP_SYN)) { /* a SYN-ACK: it knows no connection, it was asked for one */
			f->isn = seq;
			set_state(f, twin, FLOW_ADOPTED_BOTH);
		}
		return STEP_PASS;
	}
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && ack - (twin->isn + 1) <= twin->early) {
		if (ack != twin->isn + 1)
			f->flags |= FLOW_EARLY;
		f->isn = seq;
		set_state(f, twin, FLOW_SYN_ACK);
	}
	return STEP_PASS;
}

/*
 * Does the client's ACK prove that it saw the SYN-ACK? A backend that took data with the SYN may have sent more; it
 * does so only for a client that showed a cookie of its (RFC 7413 section 4.1), so the wider range is no help to a
 * spoofer.
 */
static __always_inline int is_handshake_ack(const struct flow *reply, __u32 ack)
{
	__u32 beyond = ack - (reply->isn + 1);

	return beyond == 0 || ((reply->flags & FLOW_EARLY) && beyond < HANDSHAKE_DATA_MAX);
}

static __always_inline enum tcp_step half_open_request(struct flow *f, struct flow *twin, __u8 tcp_flags, __u32 seq,
						       __u32 ack)
{
	if (is_first_syn(tcp_flags))
		return seq == f->isn && (f->state == FLOW_SYN || f->state == FLOW_SYN_ACK) ? STEP_PASS : STEP_REOPEN;
	if (tcp_flags & TCP_RST) {
		if (f->state >= FLOW_ADOPTED || seq - f->isn <= 1) {
			f->flags |= FLOW_RST;
			set_state(f, twin, FLOW_RESET);
		}
		return STEP_PASS;
	}
	if (tcp_flags & TCP_FIN)
		f->flags |= FLOW_FIN;
	if (f->state == FLOW_ADOPTED_BOTH && (tcp_flags & TCP_ACK) &&
	    ack - twin->isn + ADOPTED_WITHIN < 2 * ADOPTED_WITHIN)
		return STEP_PROMOTE;
	/* `isn` of the reply: a backend that refused the SYN has shown none. */
	if ((f->state == FLOW_SYN_ACK || (f->state == FLOW_RESET && twin->isn)) && (tcp_flags & TCP_ACK) &&
	    is_handshake_ack(twin, ack) && seq - (f->isn + 1) < HANDSHAKE_DATA_MAX)
		return STEP_PROMOTE;
	return f->state == FLOW_RESET ? STEP_REOPEN : STEP_PASS;
}

static __always_inline __u8 state_by_fins(const struct flow *f, const struct flow *twin)
{
	__u8 fins = (f->flags & FLOW_FIN) + (twin->flags & FLOW_FIN);

	if (fins == 2 * FLOW_FIN)
		return FLOW_CLOSED;
	return fins ? FLOW_CLOSING : FLOW_ESTABLISHED;
}

/*
 * Has the sender of this direction come so far? What it has sent has passed here; of more than 2 GiB, yes. Of its
 * octets the headers are no data, so it may not have quite.
 */
static __always_inline int may_have_sent(const struct flow *f, __u32 seq)
{
	return (__s32)(seq - f->isn) <= (__s64)f->bytes;
}

/* For established flows, when a flag is set or the state is not plainly ESTABLISHED. */
static __always_inline enum tcp_step established_step(struct flow *f, struct flow *twin, __u8 tcp_flags, __u32 seq,
						      __u32 ack)
{
	if (is_first_syn(tcp_flags) && !(f->flags & FLOW_REPLY))
		return f->state == FLOW_CLOSED || f->state == FLOW_RESET ? STEP_REOPEN : STEP_PASS;
	if (tcp_flags & TCP_RST) {
		if (seq - twin->expects > RST_WITHIN || !may_have_sent(f, seq))
			return STEP_PASS;
		f->flags |= FLOW_RST;
		set_state(f, twin, FLOW_RESET);
		return STEP_PASS;
	}
	if (tcp_flags & TCP_FIN) {
		if (seq - twin->expects + RST_WITHIN > 2 * RST_WITHIN) /* its receiver will not believe it either */
			return STEP_PASS;
		if (!(f->flags & FLOW_FIN) && may_have_sent(f, seq))
			f->isn = seq;
		/* In this half alone: the other's flags are the other direction's to write, on another CPU maybe. */
		if ((f->flags & (FLOW_REPLY | FLOW_FIN)) == FLOW_REPLY &&
		    (!(twin->flags & FLOW_FIN) || (__s32)(ack - twin->isn) <= 0))
			f->flags |= FLOW_BACKEND_FIRST;
		f->flags |= FLOW_FIN;
	}
	if (f->state == FLOW_RESET) {
		if (!(f->flags & FLOW_RST))
			return STEP_PASS;
		f->flags &= ~FLOW_RST;
	}
	set_state(f, twin, state_by_fins(f, twin));
	return STEP_PASS;
}

#endif /* PENSTOCK_TCP_STATE_H */
