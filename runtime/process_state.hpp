// process_state.hpp: what the library keeps per process, and how it notices that it was forked.
//
// The mutex and the epoch lie in memory that the kernel wipes in a forked child, however it was
// forked: there the epoch reads 0 and the mutex is free.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lagoon::inline v1::detail {

/// A mutex of this process, for set-up and slow paths. Not recursive; free in a forked child.
/// Begins the epoch: whoever holds it in a forked child finds nothing that looks like its own and
/// is the parent's.
class ProcessLock {
public:
    ProcessLock() noexcept;
    ~ProcessLock();
    ProcessLock(const ProcessLock&) = delete;
    ProcessLock& operator=(const ProcessLock&) = delete;
};

/// Number of this process among those that were forked without exec: changes with every fork.
/// A first call in a forked child makes all attachments foreign there.
std::uint64_t process_epoch() noexcept;

/// To be called before anything else here: throws not_supported when the kernel refuses what
/// forks are told apart by.
void prepare_process();

/// Zeroed memory that a forked child finds zeroed again. Never given back to the system; an
/// address is never handed out again in a child that its parent has used.
void* wiped_allocate(std::size_t bytes);
void wiped_free(void* memory, std::size_t bytes) noexcept;

}  // namespace lagoon::inline v1::detail
