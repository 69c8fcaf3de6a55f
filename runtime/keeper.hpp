// keeper.hpp: the one thread of the library, asleep while nothing happens.
//
// It owns the death words of all arenas that this process is a member of: the kernel marks them
// when the thread, and with it the process, dies, and wakes one sleeper each.
#pragma once

#include <chrono>

#include <lagoon/detail/attachment.hpp>

namespace lagoon::inline v1::detail {

/// Under the process lock: starts the thread at need and gives it this member's death word.
void keeper_adopt(Attachment& attachment);
/// Under the process lock: takes the death word back; the thread ends with the last one.
void keeper_drop(Attachment& attachment) noexcept;

/// When that member is gone, asks this worker to stop, and after the grace ends the process with
/// exit code 65.
void keeper_watch_parent(Attachment* attachment, MemberId parent, std::chrono::milliseconds grace);

/// In a forked child: there is no keeper.
void keeper_forget() noexcept;

constexpr std::uint32_t death_mark = 0x40000000;  // FUTEX_OWNER_DIED

}  // namespace lagoon::inline v1::detail
