/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Turns a packet into its other side's: addresses, ports, checksums, and one hop less when we forward it ourselves.
 *
 * Decides: nothing: what a packet becomes is in its flow's entry.
 * Rules: header fields only, so a GSO super-packet stays what it is; no byte is inserted or removed.
 * The transport checksum of an sk_buff goes through bpf_l4_csum_replace (context.h), which knows CHECKSUM_PARTIAL (only
 * the pseudo header's share may change) from CHECKSUM_COMPLETE (skb->csum must follow). For IPv6 it gets COMPLETE wrong
 * before 6.16 (it takes the address change off skb->csum though no IP checksum balances it): bpf_csum_update puts it
 * back.
 * A fragment behind the first has no transport header: the checksum of the whole is in the first.
 * Must never: touch a UDP checksum that is 0 over IPv4 (RFC 768: none was made).
 */
#ifndef PENSTOCK_REWRITE_H
#define PENSTOCK_REWRITE_H

#include "checksum.h"
#include "context.h"
#include "flow.h"

/* What entry `f` makes of its packets; how they go on is for others to add. */
static __always_inline void copy_rewrite(int family, struct rewrite *r, const struct flow *f)
{
	copy_words(r->saddr, f->to_saddr.octets, words_of(family));
	copy_words(r->daddr, f->to_daddr.octets, words_of(family));
	r->sport = f->to_sport;
	r->dport = f->to_dport;
}

static __always_inline void rewrite_macs(void *data, const struct rewrite *r)
{
	struct ethhdr *eth = data;

	if (!r->macs)
		return;
	__builtin_memcpy(eth->h_dest, r->dmac, 6);
	__builtin_memcpy(eth->h_source, r->smac, 6);
}

/* Writes ports and TCP/UDP checksum. `addresses` is the pseudo header's change. */
static __always_inline int rewrite_transport(context *ctx, const struct packet *p, const struct rewrite *r,
					     __u32 addresses)
{
	__u32 check_at = p->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	__u64 zero_means_none = p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 l4 = p->l4; /* at most MAX_PULL, which the verifier has forgotten since */
	__u32 old_ports, new_ports;
	struct udphdr *ports; /* TCP's begin the same */

	OPAQUE(l4);
	l4 &= 2 * MAX_PULL - 1; /* a comparison would be lost if clang spilled the offset before it */
	ports = (void *)(long)ctx->data + l4;
	if ((void *)(ports + 1) > (void *)(long)ctx->data_end)
		return -1;
	old_ports = (__u32)ports->source + ports->dest;
	ports->source = bpf_htons(r->sport);
	ports->dest = bpf_htons(r->dport);
	new_ports = (__u32)ports->source + ports->dest;
	if (zero_means_none && !ports->check) { /* nothing balances the ports in the packet's own sum */
		follow_sum(ctx, fold32(difference(old_ports, new_ports)));
		return 0;
	}
	if (replace_checksum(ctx, l4 + check_at, addresses, BPF_F_PSEUDO_HDR | zero_means_none))
		return -1;
	if (new_ports == old_ports)
		return 0;
	return replace_checksum(ctx, l4 + check_at, fold32(difference(old_ports, new_ports)), zero_means_none);
}

static __always_inline int rewrite4(context *ctx, const struct packet *p, const struct rewrite *r)
{
	void *data = (void *)(long)ctx->data;
	struct iphdr *ip = data + ETH_HLEN;
	__u32 addresses;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	rewrite_macs(data, r);
	addresses = fold32(difference(ip->saddr, r->saddr[0]) + difference(ip->daddr, r->daddr[0]));
	ip->saddr = r->saddr[0];
	ip->daddr = r->daddr[0];
	ip->check = adjusted(ip->check, addresses);
	if (r->hop) {
		ip->ttl--;
		ip->check = adjusted(ip->check, bpf_htons(0xfeff)); /* one off the high byte */
	}
	return p->fragment == FRAGMENT_LATER ? 0 : rewrite_transport(ctx, p, r, addresses);
}

static __always_inline int rewrite6(context *ctx, const struct packet *p, const struct rewrite *r)
{
	void *data = (void *)(long)ctx->data;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u64 sum = 0;
	__u32 addresses, whole;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	rewrite_macs(data, r);
	for (int i = 0; i < 4; i++) {
		sum += difference(WORD(&ip->saddr, i), r->saddr[i]);
		sum += difference(WORD(&ip->daddr, i), r->daddr[i]);
	}
	copy_words(&ip->saddr, r->saddr, 4);
	copy_words(&ip->daddr, r->daddr, 4);
	addresses = fold32(sum);
	whole = addresses;
	if (r->hop) {
		ip->hop_limit--;
		/* Hop limit is the low byte of its 16-bit word (RFC 8200 section 3). */
		whole = fold32((__u64)whole + bpf_htons(0xfffe));
	}
	if (p->fragment != FRAGMENT_LATER && rewrite_transport(ctx, p, r, addresses))
		return -1;
	follow_sum(ctx, whole);
	return 0;
}

static __always_inline int rewrite(context *ctx, int family, const struct packet *p, const struct rewrite *r)
{
	return family == AF_INET ? rewrite4(ctx, p, r) : rewrite6(ctx, p, r);
}

#endif /* PENSTOCK_REWRITE_H */
