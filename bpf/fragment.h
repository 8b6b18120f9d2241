/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Fragments of UDP datagrams (RFC 791, RFC 8200 section 4.5): only the first has ports, the others follow it.
 *
 * Decides: which flow's packet a fragment is, or that it has to wait.
 * Rules:
 *   - The first fragment is translated as any packet, and its ports are remembered under addresses and identification;
 *     what comes later is rewritten in its addresses only, for the checksum of the whole is in the first.
 *   - A fragment to a gateway that comes before its first has passed is kept, and sent through the same hook again as
 *     soon as it has: before that its flow may not have begun. At the hooks of replies nothing is kept: nobody can
 *     tell whose it is.
 *   - Every octet of a datagram comes once: what overlaps is dropped (RFC 5722). A datagram that is complete is
 *     forgotten, so that its identification can be used again; for a second it is known to be, so that a duplicate is
 *     not kept for the next of that number.
 *   - Fragments of anything else do not come here: to a gateway, tc.bpf.c drops them.
 * Memory is bounded: DATAGRAMS in the making, HELD fragments of HELD_OCTETS, by least recent use; of one datagram
 * HELD_PER_DATAGRAM.
 * Must never: keep or drop a fragment that may be the node's own.
 */
#ifndef PENSTOCK_FRAGMENT_H
#define PENSTOCK_FRAGMENT_H

#include "flow.h"
#include "listener.h"
#include "outcome.h"
#include "reject.h"

#define DATAGRAMS 2048
#define HELD 1024
#define HELD_OCTETS 2048    /* of a frame, a power of 2: one of MTU 1500 fits; one that is longer is dropped */
#define HELD_PER_DATAGRAM 8 /* a ninth is dropped */
/* Of a first fragment's frame, a power of 2: one of MTU 9000 fits. Of a longer one, those that wait for it are lost. */
#define FIRST_OCTETS 16384
#define COMPLETE_SECONDS 1
#define FRAGMENT_SECONDS 30 /* as Linux' ipfrag_time */
#define UNIT 8		    /* octets that a fragment's offset counts in */
#define UNITS_PER_WORD 64
#define DATAGRAM_WORDS (65536 / UNIT / UNITS_PER_WORD)

struct datagram_key {
	struct address saddr;
	struct address daddr;
	__u32 id;
	__u32 hook; /* what one hook leaves to another passes both */
};

/* A datagram whose first fragment has come. */
struct datagram {
	__u16 sport;
	__u16 dport;
	__u32 first_seen; /* seconds since boot */
	__u32 octets;	  /* come so far */
	__u32 length;	  /* of the whole, once its last fragment has come; else 0 */
	__u32 passed;	  /* its first has, whatever became of it */
	__u32 pad;
	__u64 units[DATAGRAM_WORDS];
};

struct held_key {
	struct datagram_key datagram;
	__u32 place;
};

struct held {
	__u32 seen; /* seconds since boot */
	__u32 length;
	/* in two parts, each of which may be HELD_OCTETS long to the verifier */
	__u8 frame[HELD_OCTETS + ETH_HLEN + 2];
};

/* A first fragment in hand, as it was rewritten. */
struct first {
	__u32 length;
	struct packet packet; /* what is known of it */
	__u8 frame[FIRST_OCTETS + ETH_HLEN + 2];
};

/* What a fragment says of itself. */
struct piece {
	__u32 at; /* octets of the datagram before it */
	__u32 length;
	__u8 more; /* others come after it in the datagram */
};

PINNED_MAP(datagrams, BPF_MAP_TYPE_LRU_HASH, DATAGRAMS, struct datagram_key, struct datagram);
PINNED_MAP(complete_datagrams, BPF_MAP_TYPE_LRU_HASH, DATAGRAMS, struct datagram_key, __u32); /* -> since when */
PINNED_MAP(held_fragments, BPF_MAP_TYPE_LRU_HASH, HELD, struct held_key, struct held);
PINNED_MAP(datagram_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct datagram);
PINNED_MAP(held_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct held);
/* Of the first fragment, while others are sent through the hook again: at an egress hook that runs in between. */
PINNED_MAP(first_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct first);

static __always_inline int read_piece(struct __sk_buff *skb, const struct packet *p, int family,
				      struct datagram_key *key, struct piece *piece)
{
	__be16 offset;

	__builtin_memset(key, 0, sizeof(*key));
	key->hook = p->hook;
	if (family == AF_INET) {
		__be16 id;

		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, id), &id, 2) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, frag_off), &offset, 2))
			return -1;
		WORD(key->saddr.octets, 0) = WORD(p->tuple.v4.saddr, 0);
		WORD(key->daddr.octets, 0) = WORD(p->tuple.v4.daddr, 0);
		key->id = id;
		piece->at = (bpf_ntohs(offset) & 0x1fff) * UNIT;
		piece->more = !!(offset & IP_MF);
		piece->length = payload_length(skb, p->l4, ETH_HLEN + offsetof(struct iphdr, tot_len), ETH_HLEN);
	} else {
		if (bpf_skb_load_bytes(skb, p->l4 - 6, &offset, 2) || bpf_skb_load_bytes(skb, p->l4 - 4, &key->id, 4))
			return -1;
		copy_words(key->saddr.octets, p->tuple.v6.saddr, 4);
		copy_words(key->daddr.octets, p->tuple.v6.daddr, 4);
		piece->at = bpf_ntohs(offset) & 0xfff8;
		piece->more = !!(offset & bpf_htons(1));
		piece->length = payload_length(skb, p->l4, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
					       ETH_HLEN + sizeof(struct ipv6hdr));
	}
	/* All but the last are whole units, and none reaches behind the longest datagram (the "ping of death"). */
	return !piece->length || (piece->more && piece->length % UNIT) || piece->at + piece->length > 0xffff ? -1 : 0;
}

/* What mark_come() hands to each step. */
struct marking {
	struct datagram *datagram;
	__u32 from; /* first unit of the piece */
	__u32 to;   /* the unit behind it */
	int overlaps;
};

/* The units of the piece that are in word `step`, counted from the piece's first word. */
static long mark_word(__u32 step, void *context)
{
	struct marking *marking = context;
	__u32 number = marking->from / UNITS_PER_WORD + step;
	__u32 low = number * UNITS_PER_WORD, high = low + UNITS_PER_WORD;
	__u64 units = ~0ULL;

	if (number >= DATAGRAM_WORDS)
		return 1;
	if (marking->from > low)
		units &= ~0ULL << ((marking->from - low) & 63);
	if (marking->to < high)
		units &= ~0ULL >> ((high - marking->to) & 63);
	marking->overlaps = (__sync_fetch_and_or(&marking->datagram->units[number], units) & units) != 0;
	/* no further: another CPU that marks the same piece just now must not meet our marks */
	return marking->overlaps;
}

/* Notes that the piece has come. Not 0: some of it had come before. */
static __always_inline int mark_come(struct datagram *datagram, const struct piece *piece)
{
	struct marking marking = {
		.datagram = datagram,
		.from = piece->at / UNIT,
		.to = (piece->at + piece->length + UNIT - 1) / UNIT,
	};

	bpf_loop((marking.to - 1) / UNITS_PER_WORD - marking.from / UNITS_PER_WORD + 1, mark_word, &marking, 0);
	return marking.overlaps;
}

static __always_inline struct datagram *new_datagram(const struct datagram_key *key, __u16 sport, __u16 dport,
						     __u32 now)
{
	__u32 zero = 0;
	struct datagram *fresh = bpf_map_lookup_elem(&datagram_scratch, &zero); /* its units are never written: 0 */

	if (!fresh)
		return 0;
	fresh->sport = sport;
	fresh->dport = dport;
	fresh->first_seen = now;
	/* another CPU may have the same fragment: one of us is late */
	bpf_map_update_elem(&datagrams, key, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&datagrams, key);
}

/* From 1 to `most`, a power of 2, as it was before: in a shape that clang leaves alone and 6.1's verifier follows. */
static __always_inline __u32 bounded(__u32 length, __u32 most)
{
	length--;
	OPAQUE(length);
	length &= most - 1;
	OPAQUE(length);
	return length + 1;
}

/* May a later fragment of the datagram go its way? Its first has gone, or at least their flow has begun. */
static __always_inline int is_open(int family, struct packet *p, const struct datagram *datagram)
{
	if (datagram->passed)
		return 1;
	set_ports(family, &p->tuple, datagram->sport, datagram->dport);
	return flow_lookup(TABLE_UDP, family, &p->tuple) != 0;
}

/* Keeps the fragment until its first has passed: VERDICT_HELD, FLOW_GOES_ON if it has meanwhile, or a drop. */
static __always_inline int hold(struct __sk_buff *skb, struct packet *p, int family,
				const struct datagram_key *datagram, __u32 now)
{
	struct held_key key = {};
	__u32 zero = 0, length = skb->len;
	struct held *held = bpf_map_lookup_elem(&held_scratch, &zero);

	if (!held || !length || length > HELD_OCTETS)
		return DROP_FRAGMENT;
	held->seen = now;
	held->length = length;
	if (bpf_skb_load_bytes(skb, 0, held->frame, bounded(length, HELD_OCTETS)))
		return DROP_INTERNAL;
	__builtin_memcpy(&key.datagram, datagram, sizeof(key.datagram));
	for (__u32 place = 0; place < HELD_PER_DATAGRAM; place++) {
		struct datagram *begun;
		struct held *old;

		key.place = place;
		old = bpf_map_lookup_elem(&held_fragments, &key);
		if (old && seconds_since(old->seen, now) > FRAGMENT_SECONDS)
			bpf_map_delete_elem(&held_fragments, &key);
		/* Another CPU may keep another one: who is second takes the next place. */
		if (bpf_map_update_elem(&held_fragments, &key, held, BPF_NOEXIST))
			continue;
		/* ... or the first has just passed there, and found nothing to release. */
		begun = bpf_map_lookup_elem(&datagrams, datagram);
		if (!begun || !is_open(family, p, begun))
			return VERDICT_HELD;
		/* whose delete it is, sends */
		return bpf_map_delete_elem(&held_fragments, &key) ? VERDICT_HELD : FLOW_GOES_ON;
	}
	return DROP_FRAGMENT;
}

/*
 * Finds out the ports of this CPU's packet, a UDP fragment: FLOW_GOES_ON when they are in its tuple, FLOW_IS_ABSENT if
 * it may be somebody else's, or the verdict.
 */
VERIFIED_ONCE int place_fragment(struct __sk_buff *skb, int family, int takes_requests)
{
	struct packet *p = this_cpu_packet();
	struct datagram_key key;
	struct piece piece = {};
	struct datagram *datagram;
	struct gateway *gateway;
	__be16 ports[2];
	__u16 sport, dport;
	__u32 now;
	int is_gateways;

	if (!p)
		return DROP_INTERNAL;
	if (family == AF_INET6)
		p->tuple.v6.protocol = IPPROTO_UDP;
	now = read_clock(p);
	gateway = takes_requests ? gateway_of(family, &p->tuple) : 0;
	is_gateways = gateway && !(gateway->flags & GATEWAY_NODE_ADDRESS);
	if (read_piece(skb, p, family, &key, &piece))
		return is_gateways ? DROP_MALFORMED : FLOW_IS_ABSENT;
	datagram = bpf_map_lookup_elem(&datagrams, &key);
	if (datagram && seconds_since(datagram->first_seen, now) > (piece.at ? FRAGMENT_SECONDS : 1)) {
		/* the rest of it was lost, and this is another of the same number */
		bpf_map_delete_elem(&datagrams, &key);
		datagram = 0;
	}
	if (!piece.at) {
		if (bpf_skb_load_bytes(skb, p->l4, ports, sizeof(ports)))
			return is_gateways ? DROP_MALFORMED : FLOW_IS_ABSENT;
		sport = bpf_ntohs(ports[0]);
		dport = bpf_ntohs(ports[1]);
		if (!datagram) {
			if (!gateway) { /* a reply, then, or none of ours */
				set_ports(family, &p->tuple, sport, dport);
				if (!flow_lookup(TABLE_UDP, family, &p->tuple))
					return FLOW_IS_ABSENT;
			}
			datagram = new_datagram(&key, sport, dport, now);
		}
	}
	if (!datagram || (piece.at && is_gateways && !is_open(family, p, datagram))) {
		__u32 *since = bpf_map_lookup_elem(&complete_datagrams, &key);
		int verdict = !is_gateways ? FLOW_IS_ABSENT :
			      !datagram && since && seconds_since(*since, now) <= COMPLETE_SECONDS ?
					     DROP_FRAGMENT :
					     hold(skb, p, family, &key, now);

		if (verdict != FLOW_GOES_ON)
			return verdict;
		datagram = bpf_map_lookup_elem(&datagrams, &key);
		if (!datagram)
			return DROP_FRAGMENT;
	}
	if (mark_come(datagram, &piece))
		return gateway && !is_gateways ? FLOW_IS_ABSENT : DROP_FRAGMENT;
	set_ports(family, &p->tuple, datagram->sport, datagram->dport);
	p->fragment = piece.at ? FRAGMENT_LATER : FRAGMENT_FIRST;
	p->fragment_id = key.id;
	p->tcp_flags = 0;
	p->l4_header = 0;
	if (!piece.more)
		datagram->length = piece.at + piece.length;
	if (__sync_fetch_and_add(&datagram->octets, piece.length) + piece.length == datagram->length) {
		bpf_map_update_elem(&complete_datagrams, &key, &now, BPF_ANY); /* before it is taken out here */
		bpf_map_delete_elem(&datagrams, &key);
	}
	return FLOW_GOES_ON;
}

/* Names the datagram that this CPU's packet is the first fragment of, or was before it was rewritten. */
static __always_inline void name_datagram(int family, const struct packet *p, struct datagram_key *key)
{
	if (family == AF_INET) {
		WORD(key->saddr.octets, 0) = WORD(p->tuple.v4.saddr, 0);
		WORD(key->daddr.octets, 0) = WORD(p->tuple.v4.daddr, 0);
	} else {
		copy_words(key->saddr.octets, p->tuple.v6.saddr, 4);
		copy_words(key->daddr.octets, p->tuple.v6.daddr, 4);
	}
	key->id = p->fragment_id;
	key->hook = p->hook;
}

/*
 * This CPU's packet, a first fragment, has a verdict: nobody has to wait for it any more. What waited for one that went
 * nowhere goes, too: it would be joined to the next datagram of that number.
 */
VERIFIED_ONCE int first_has_passed(int family, int verdict)
{
	struct packet *p = this_cpu_packet();
	struct held_key key = {};
	struct datagram *datagram;

	if (!p)
		return 0;
	name_datagram(family, p, &key.datagram);
	datagram = bpf_map_lookup_elem(&datagrams, &key.datagram);
	if (datagram)
		datagram->passed = 1;
	if (verdict == VERDICT_FORWARDED || verdict == VERDICT_REPLIED || verdict == VERDICT_NOT_OURS)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 place = 0; place < HELD_PER_DATAGRAM; place++) {
		key.place = place;
		bpf_map_delete_elem(&held_fragments, &key);
	}
	return 0;
}

/* The frame of the packet becomes this one; all behind the Ethernet header is in the sum of CHECKSUM_COMPLETE. */
static __always_inline int become(struct __sk_buff *skb, __u8 *frame, __u32 length, __u32 most)
{
	if (length <= ETH_HLEN || length > most || bpf_skb_change_tail(skb, length, 0))
		return -1;
	if (bpf_skb_store_bytes(skb, 0, frame, ETH_HLEN, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, frame + ETH_HLEN, bounded(length - ETH_HLEN, most),
				   BPF_F_RECOMPUTE_CSUM);
}

/*
 * Sends what came before the datagram's first fragment, which is this CPU's packet and has just been rewritten, through
 * the same hook again. Not 0: the packet itself could not be restored.
 */
VERIFIED_ONCE int release_held(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	__u32 zero = 0, length = skb->len, ifindex = skb->ifindex;
	struct first *first = bpf_map_lookup_elem(&first_scratch, &zero);
	__u64 direction;
	struct held_key key = {};
	int changed = 0;

	if (!p || !first || length <= ETH_HLEN || length > FIRST_OCTETS)
		return 0;
	direction = p->hook == HOOK_LOCAL_EGRESS ? 0 : BPF_F_INGRESS;
	name_datagram(family, p, &key.datagram);
#pragma clang loop unroll(disable)
	for (__u32 place = 0; place < HELD_PER_DATAGRAM; place++) {
		struct held *held;
		int fresh;

		key.place = place;
		held = bpf_map_lookup_elem(&held_fragments, &key);
		if (!held)
			continue;
		if (!changed) {
			first->length = length;
			__builtin_memcpy(&first->packet, p, sizeof(*p));
			if (bpf_skb_load_bytes(skb, 0, first->frame, bounded(length, FIRST_OCTETS)))
				return 0;
			changed = 1;
		}
		fresh = seconds_since(held->seen, now_seconds()) <= FRAGMENT_SECONDS &&
			!become(skb, held->frame, held->length, HELD_OCTETS);
		if (!bpf_map_delete_elem(&held_fragments, &key) && fresh && !is_trial)
			bpf_clone_redirect(skb, ifindex, direction);
	}
	if (!changed)
		return 0;
	__builtin_memcpy(p, &first->packet, sizeof(*p)); /* at an egress hook the others' stand there */
	return become(skb, first->frame, first->length, FIRST_OCTETS);
}

#endif /* PENSTOCK_FRAGMENT_H */
