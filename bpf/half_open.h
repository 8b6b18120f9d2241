/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A TCP segment that met no established flow: is it part of a handshake that we know?
 *
 * Decides: what becomes of the segment: translated, dropped while flows move, turned into a reset, or none of ours.
 * Rules: tcp_state.h says what a segment means; here it is done: states are moved on, a finished handshake goes to
 * the table that is never evicted, and a policy's limit of connections is asked there. Another CPU may do the same at
 * the same moment: whoever is late leaves it as it is, and the next segment tries again.
 * Must never: begin a flow, or move one while flows are carried over from one set of tables to the next.
 */
#ifndef PENSTOCK_HALF_OPEN_H
#define PENSTOCK_HALF_OPEN_H

#include "in_force.h"
#include "policy.h"
#include "translate.h"

/* What half_open_step() found. */
enum half_open {
	HANDSHAKE_WAITS = -1, /* an upgrade carries the flows over: drop the packet */
	HALF_OPEN_NONE,
	HALF_OPEN_CARRY,  /* translate the packet by its entry */
	HALF_OPEN_EXCESS, /* ... as a reset of the backend: it would have been one connection too many */
	HALF_OPEN_REFUSED, /* the same, and this time it is the client that is told */
};

/* 0 if both halves are in the table that is never evicted. */
static __always_inline int move_to_established(int family, struct flow *half)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct flow *twin;
	int error;

	if (!pair || !p || !half)
		return -1;
	__builtin_memcpy(&pair->request_key, &p->tuple, sizeof(pair->request_key));
	__builtin_memcpy(&pair->request, half, sizeof(pair->request));
	reply_key_of(family, pair);
	twin = flow_lookup(TABLE_HALF_OPEN, family, &pair->reply_key);
	if (!twin)
		return -1;
	__builtin_memcpy(&pair->reply, twin, sizeof(pair->reply));
	/* While we copied, another CPU may have removed them, and put others in their place. */
	if (is_another(family, &pair->request, &pair->request_key, pair->reply.generation) ||
	    is_another(family, &pair->reply, &pair->reply_key, pair->request.generation))
		return -1;
	if (pair->request.state != FLOW_RESET) /* else it rests as such, until who sent the RST goes on once more */
		pair->request.state = state_by_fins(&pair->request, &pair->reply);
	pair->reply.state = pair->request.state;
	pair->reply.seen = pair->request.seen; /* young, so that nobody takes it for a half left over */
	pair->request.counted_at = 0; /* else than in `half` */
	if (pair->request.flags & FLOW_FIN) /* from now on it is the FIN's number that counts (tcp_state.h) */
		pair->request.isn = p->seq;
	if (pair->request.state != FLOW_CLOSED) {
		error = take_connection(family, p, &pair->request);
		if (error)
			return error;
	}
	error = pair_insert(TABLE_TCP, family);
	if (error) {
		release(&pair->request);
		return error;
	}
	/* By whom it was put in, so that it stands in the turnstile once. Without, it would stand here for ever. */
	if (watch_age(TABLE_TCP, family, pair)) {
		pair_remove(TABLE_TCP, family, &pair->request_key, &pair->reply_key, pair->request.generation);
		return -1;
	}
	pair_remove(TABLE_HALF_OPEN, family, &pair->request_key, &pair->reply_key, pair->request.generation);
	count_connection(pair->request.backend_id);
	return 0;
}

/*
 * The handshake is complete: the pair moves to the other table. By one CPU at a time: another one could find that the
 * last place is taken, by this very flow, and reset it. What fails stays as it is, and the next ACK tries again.
 */
VERIFIED_ONCE int promote(int family, struct flow *half)
{
	int error;

	if (!half || __sync_val_compare_and_swap(&half->counted_at, 0, 1))
		return -1;
	error = move_to_established(family, half);
	if (error)
		half->counted_at = 0;
	return error;
}

/*
 * Moves the state of the packet's half-open flow on, and says what to do (enum half_open). Its entry may be in the
 * established table after that (known_flow finds it).
 */
VERIFIED_ONCE int half_open_step(int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();
	struct flow *f, *twin;
	enum tcp_step step;
	__u32 generation;

	if (!p || !scratch)
		return 0;
	f = flow_lookup(TABLE_HALF_OPEN, family, &p->tuple);
	if (!f)
		return 0;
	if (!belongs_at(p->hook, f))
		return 0;
	if (flows_are_moving())
		return HANDSHAKE_WAITS;
	generation = f->generation;
	twin = live_twin(TABLE_HALF_OPEN, family, &p->tuple, f, &scratch->twin);
	if (!twin) {
		twin_key(family, &p->tuple, f, &scratch->twin);
		pair_remove(TABLE_HALF_OPEN, family, &p->tuple, &scratch->twin, generation);
		return 0;
	}
	if (!(f->flags & FLOW_REPLY) && has_lost_backend(f, f->state == FLOW_SYN))
		step = STEP_REOPEN; /* nobody to reset yet: another backend may finish the handshake */
	else if (f->state == FLOW_SYN && is_first_syn(p->tcp_flags) && !f->nexthop.ifindex)
		step = STEP_REOPEN; /* there was no way to the backend, so nobody could tell whom it may see */
	else if (f->flags & FLOW_REPLY)
		step = half_open_reply(f, twin, p->tcp_flags, p->seq, p->ack);
	else
		step = half_open_request(f, twin, p->tcp_flags, p->seq, p->ack);
	if (step == STEP_REOPEN) {
		pair_remove(TABLE_HALF_OPEN, family, &p->tuple, &scratch->twin, generation);
		return 0;
	}
	f->seen = now_seconds();
	f->expects = p->ack;
	/* If it fails else, another CPU did it, or it stays half-open and the next segment tries again. */
	if (step == STEP_PROMOTE && promote(family, f) == FLOW_EXCEEDS) {
		f->flags ^= FLOW_RST; /* both ends must hear of it: in turn, for either may have missed it */
		return f->flags & FLOW_RST ? HALF_OPEN_EXCESS : HALF_OPEN_REFUSED;
	}
	return HALF_OPEN_CARRY;
}

#endif /* PENSTOCK_HALF_OPEN_H */
