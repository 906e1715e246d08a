/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one fixture of all ptshare selftests. What it tears down also proves,
 * after each test, that the kernel's own bookkeeping is intact.
 * To be included after kselftest_harness.h.
 */
#ifndef __PTSHARE_FIXTURE_H
#define __PTSHARE_FIXTURE_H

#include "ptshare_util.h"

FIXTURE(ptshare)
{
	struct pt_state state;
};

FIXTURE_SETUP(ptshare)
{
	pt_setup(&self->state);
}

FIXTURE_TEARDOWN(ptshare)
{
	EXPECT_EQ(0, pt_teardown(&self->state));
}

/* Generous: a debug kernel under emulation is slow, and a hang is a failure. */
#define PT_TEST(name)	TEST_F_TIMEOUT(ptshare, name, 900)

/* Why a test of sharing as such is skipped */
#define PT_OFF		"vm.ptshare is off or missing"

#endif /* __PTSHARE_FIXTURE_H */
