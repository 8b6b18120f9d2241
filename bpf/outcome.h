/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a stage says to the next one, when it is not the packet's verdict (verdicts are not negative).
 *
 * Decides: the names of what is neither dropped nor done yet.
 * Rules: every one of them is turned into a verdict, or into a packet that goes on, before end() in trace.h counts.
 * Must never: be counted, or reach Python.
 */
#ifndef PENSTOCK_OUTCOME_H
#define PENSTOCK_OUTCOME_H

enum {
	FLOW_IS_ABSENT = -1,  /* as if there were no entry */
	FLOW_GOES_ON = -2,    /* translate the packet */
	FLOW_NEEDS_PORT = -3, /* the client's own address and port cannot serve: begin it under ours */
	FLOW_COLLIDES = -4,   /* no reply tuple is free for it */
	FLOW_EXCEEDS = -5,    /* its listener, or its source there, has as many connections as a policy allows */
	FLOW_MIDSTREAM = -6,  /* it began long ago, under a port that nobody knows any more */
	FLOW_LEFT_TO_TC = -7, /* XDP's alone: as if it had not seen the packet */
};

#endif /* PENSTOCK_OUTCOME_H */
