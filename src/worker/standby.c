/*
 * worker/standby.c
 *		Whether what a worker has committed is where the server's settings want it to be.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"

#include "worker/worker.h"

bool
sl_last_commit_is_on_standbys(void)
{
	int		   mode = SYNC_REP_WAIT_FLUSH;
	XLogRecPtr confirmed;

	if (!SyncRepRequested() || SyncRepStandbyNames == NULL || *SyncRepStandbyNames == '\0')
		return true;
	if (synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE)
		mode = SYNC_REP_WAIT_WRITE;
	else if (synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY)
		mode = SYNC_REP_WAIT_APPLY;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	confirmed = WalSndCtl->lsn[mode];
	LWLockRelease(SyncRepLock);
	return XactLastCommitEnd <= confirmed;
}
