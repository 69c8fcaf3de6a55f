// members.hpp: a process's claim on a member entry, and the proof that another one is dead.
#pragma once

#include <cstdint>

#include <lagoon/detail/attachment.hpp>
#include <lagoon/detail/layout.hpp>

namespace lagoon::inline v1::detail {

enum class MemberLife {
    free,  // not claimed
    alive,
    dead,     // claimed, and the kernel has released its lock
    unclear,  // the kernel would not say: treated as alive
};

/// Read, ask the kernel, read again. `state` gets the word that was found.
[[nodiscard]] MemberLife member_life(int fd, const MemberEntry& member, std::uint32_t index,
                                     std::uint64_t* state = nullptr) noexcept;
/// The same for an attached arena; this process itself is alive.
[[nodiscard]] MemberLife member_life(Attachment& attachment, std::uint32_t index,
                                     std::uint64_t* state = nullptr) noexcept;
/// Is that incarnation of the member still there and not dead?
[[nodiscard]] bool member_is_alive(Attachment* attachment, MemberId id) noexcept;

/// Takes the first free entry and its lock byte for this process; entries of the dead are
/// repaired on the way. Throws too_many_processes. Under the process lock.
void claim_member(Attachment& attachment);
/// Leaves the entry free and the lock byte unlocked.
void release_member(Attachment& attachment) noexcept;

}  // namespace lagoon::inline v1::detail
