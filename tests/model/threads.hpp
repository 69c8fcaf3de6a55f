// threads.hpp: what the runtime keeps per thread, swapped with the actor.
#pragma once

#include <lagoon/detail/lane.hpp>

namespace lagoon::inline v1::detail {

struct ThreadLocals {
    ThreadHot hot;
    void* state;
};
/// Of a thread that has not been here yet.
ThreadLocals new_thread() noexcept;
ThreadLocals current_thread() noexcept;
void become_thread(const ThreadLocals& thread) noexcept;
/// The process starts without threads.
void forget_threads() noexcept;
/// What the end of a thread runs.
void finish_thread() noexcept;

}  // namespace lagoon::inline v1::detail
