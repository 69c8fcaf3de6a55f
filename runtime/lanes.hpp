// lanes.hpp: the lanes of this process's threads.
#pragma once

#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/pool_core.hpp>

#include "attachment.hpp"

namespace lagoon::inline v1::detail {

/// The calling thread's cache of this pool, made at first use; `hot` points to it afterwards
/// unless the thread has no lane of its own.
PoolCache& cache_of(PoolObject& pool) noexcept;
/// The same, but null with the reason in `why` where this process (a forked child) cannot attach.
PoolCache* cache_or(PoolObject& pool, Outcome* why) noexcept;

/// Under the process lock: no thread's lane or cache leads into this arena any more.
void forget_lanes(Attachment& attachment) noexcept;
/// Under the process lock, in a forked child: no lane of the parent is ours.
void forget_all_lanes() noexcept;

/// Under the process lock: every lane of this process becomes free, its words already moved.
void free_lanes(Attachment& attachment) noexcept;

/// What a thread's lane owns is handed to the process's lane: slots and locks.
void hand_over(Attachment& attachment, std::uint32_t lane, bool leases) noexcept;

}  // namespace lagoon::inline v1::detail
