// threads.cpp: runtime/lanes.cpp as it stands, with a way to its thread-local state.
#include "threads.hpp"

#include "runtime/lanes.cpp"

namespace lagoon::inline v1::detail {

ThreadLocals new_thread() noexcept { return {{&no_cache, &no_lane}, nullptr}; }

ThreadLocals current_thread() noexcept { return {hot, this_thread}; }

void become_thread(const ThreadLocals& thread) noexcept {
    hot = thread.hot;
    this_thread = static_cast<ThreadState*>(thread.state);
}

void forget_threads() noexcept { all_threads = nullptr; }

void finish_thread() noexcept {
    if (this_thread != nullptr) thread_exits(this_thread);
}

}  // namespace lagoon::inline v1::detail
