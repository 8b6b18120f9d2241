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
	HALF_OPEN_CARRY,   /* translate the packet by its entry */
	HALF_OPEN_EXCESS,  /* ... as a reset of the backend: it would have been one connection too many */
	HALF_OPEN_REFUSED, /* the same, and this time it is the client that is told */
};

/* What another CPU has set in a half-open entry that is out of its table, since it was copied, as flags. */
static __always_inline __u8 late_flags(const struct flow *removed, const struct flow *copy)
{
	__u8 flags = *(volatile __u8 *)&removed->flags, state = *(volatile __u8 *)&removed->state;

	/* another flow's by now? */
	if (removed->key_check != copy->key_check || *(volatile __u32 *)&removed->generation)
		return 0;
	flags &= ~copy->flags & (FLOW_FIN | FLOW_RST);
	return state == FLOW_RESET && copy->state != FLOW_RESET ? flags | FLOW_RST : flags; /* it follows its flag */
}

/*
 * A FIN or RST that came to the half-open entries while they were copied ends the flow all the same. Whoever sees the
 * pair in the other table follows it there itself (tc.bpf.c); who did not has left its flag here by the time they are
 * out.
 */
static __always_inline void follow_late(int family, struct pair *pair, const struct flow *half, const struct flow *twin)
{
	__u8 request = late_flags(half, &pair->request), reply = late_flags(twin, &pair->reply);
	struct flow *f, *other;

	if (!request && !reply)
		return;
	f = flow_lookup(TABLE_TCP, family, &pair->request_key);
	other = flow_lookup(TABLE_TCP, family, &pair->reply_key);
	if (!f || !other || f->generation != pair->request.generation || other->generation != f->generation)
		return;
	f->flags |= request & half->flags;
	other->flags |= reply & twin->flags;
	set_state(f, other, (request | reply) & FLOW_RST ? FLOW_RESET : state_by_fins(f, other));
}

/* 0 if both halves are in the table that is never evicted, FLOW_EXCEEDS if they must never be, else not now. */
static __always_inline int move_to_established(int family, struct flow *half)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct flow *twin;
	int error, is_counted;

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
	/* in `half` it is 1, which is promote()'s lock */
	pair->request.counted_at = 0;
	/* from now on it is the FIN's number that counts (tcp_state.h) */
	if (pair->request.flags & FLOW_FIN)
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
	/*
	 * By whom it was put in, so that it stands in the turnstile once. Without, it would stand here for ever.
	 * Half-open it goes on as well, until it is pushed out, but not past a limit: nothing would count it.
	 */
	is_counted = pair->request.counted_at || pair->request.source_place;
	if (watch_age(TABLE_TCP, family, pair)) {
		pair_remove(TABLE_TCP, family, &pair->request_key, &pair->reply_key, pair->request.generation);
		return is_counted ? FLOW_EXCEEDS : -1;
	}
	pair_remove(TABLE_HALF_OPEN, family, &pair->request_key, &pair->reply_key, pair->request.generation);
	follow_late(family, pair, half, twin);
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

	if (!half || __sync_val_compare_and_swap(&half->counted_at, PROMOTION_NONE, PROMOTION_GOES_ON))
		return -1;
	error = move_to_established(family, half);
	if (error)
		half->counted_at = error == FLOW_EXCEEDS ? PROMOTION_REFUSED : PROMOTION_NONE;
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
	int is_refused;

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
	/* a backend repeats its SYN-ACK to nobody for long */
	if (!(f->flags & FLOW_REPLY) || !(p->tcp_flags & TCP_SYN))
		f->seen = now_seconds();
	f->expects = p->ack;
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		full_barrier(&f->expects); /* it stands here before the other table is looked at (follow_late) */
	if (step != STEP_PROMOTE)
		return HALF_OPEN_CARRY;
	is_refused = f->counted_at == PROMOTION_REFUSED;
	/* Other failures: another CPU promotes the flow, or it stays half-open and its next segment tries again. */
	if (is_refused || promote(family, f) == FLOW_EXCEEDS) {
		f->flags ^= FLOW_RST; /* both ends must hear of it: in turn, for either may have missed it */
		return f->flags & FLOW_RST ? HALF_OPEN_EXCESS : HALF_OPEN_REFUSED;
	}
	return HALF_OPEN_CARRY;
}

#endif /* PENSTOCK_HALF_OPEN_H */
