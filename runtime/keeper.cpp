// keeper.cpp: the thread whose death the kernel announces.
//
// Its robust list is a list of its own, not glibc's: one node per arena, in the member entry
// itself, so that the word lies at a fixed distance from the node. A kill between any two of the
// list's stores leaves a list that the kernel can walk.
#include "keeper.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <vector>

#include <lagoon/detail/wait.hpp>
#include <lagoon/error.hpp>

#include "attachment.hpp"
#include "keeper_words.hpp"
#include "members.hpp"
#include "os.hpp"
#include "process_state.hpp"
#include "worker.hpp"

namespace lagoon::inline v1::detail {

namespace {

static_assert(death_mark == FUTEX_OWNER_DIED);

struct Keeper {
    robust_list_head list{};
    pthread_t thread{};
    bool running = false;
    Atomic<std::uint32_t> tid{0};
    KeeperWords words;

    // The parent of a worker; both are written before its arena is watched, once.
    MemberId parent{};
    std::chrono::milliseconds grace{};
};
constinit Keeper keeper;

/// The arenas whose nodes are on the list, in its order: the list itself lies in shared memory,
/// and nothing read from there is followed. Never destroyed: the thread outlives static objects.
std::vector<Attachment*>& kept() {
    static auto& order = *new std::vector<Attachment*>;
    return order;
}

constexpr std::chrono::seconds look_anyway{1};  // where the parent has no keeper

void* ask_to_stop(void*) {
    ::pthread_setname_np(::pthread_self(), "lagoon-stop");
    request_worker_stop();
    return nullptr;
}

/// The parent is gone: the worker is asked to stop, and ends when it does not. Its stop callbacks
/// run in a thread of their own: whatever they do, the grace passes here.
void outlive_parent() noexcept {
    const Deadline end = deadline_after(keeper.grace);
    pthread_t asking{};
    if (::pthread_create(&asking, nullptr, &ask_to_stop, nullptr) == 0) {
        ::pthread_detach(asking);
    } else {
        request_worker_stop();  // where no thread is to be had
    }
    for (;;) {
        const std::uint32_t seen = keeper.words.look();
        if (keeper.words.is_ending() || std::chrono::steady_clock::now() >= end) break;
        keeper.words.sleep(seen, end);
    }
    if (!keeper.words.is_ending()) ::_exit(65);
}

/// One sleep: until something new is to be looked at, or the parent's death word is marked.
void sleep_once(std::uint32_t seen) noexcept {
    const KeeperWords::Reading reading{keeper.words};
    Attachment* watched = reading.arena();
    if (watched == nullptr) return keeper.words.sleep(seen, for_ever);
    if (!member_is_alive(watched, keeper.parent)) {
        keeper.words.watch(nullptr);
        reading.done();
        outlive_parent();
        return;
    }
    MemberEntry& entry = watched->member_entry(keeper.parent.index);
    // K5 acquire load, no pair: the kernel writes the mark. kept: the kernel compares it again.
    const std::uint32_t word = entry.death_word.load(std::memory_order_acquire);
    reading.done();  // from here on the kernel alone uses the address, and checks it
    if ((word & death_mark) != 0) {
        // Dying: the proof follows when its memory is gone.
        return keeper.words.sleep(seen, deadline_after(std::chrono::microseconds{200}));
    }
    keeper.words.sleep_beside(seen, {&entry.death_word, word}, deadline_after(look_anyway));
}

void* keep(void*) {
    ::pthread_setname_np(::pthread_self(), "lagoon-keeper");
    keeper.list.list.next = &keeper.list.list;
    keeper.list.list_op_pending = nullptr;
    keeper.list.futex_offset = static_cast<long>(offsetof(MemberEntry, death_word)) -
                               static_cast<long>(offsetof(MemberEntry, robust_next));
    ::syscall(SYS_set_robust_list, &keeper.list, sizeof keeper.list);
    // K6 release store -> K7: the list is ready before anybody links into it. kept: it is plain,
    // and the kernel reads it.
    keeper.tid.store(os::thread_id(), std::memory_order_release);
    os::futex_wake(keeper.tid, everybody);
    while (!keeper.words.is_ending()) {
        const std::uint32_t seen = keeper.words.look();
        if (!keeper.words.is_ending()) sleep_once(seen);
    }
    return nullptr;
}

void start() {
    keeper.words.begin();
    // K8 relaxed store, no pair: no keeper runs, and the new one is created after it.
    keeper.tid.store(0, std::memory_order_relaxed);
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, std::size_t{256} << 10);
    const int error = ::pthread_create(&keeper.thread, &attributes, &keep, nullptr);
    ::pthread_attr_destroy(&attributes);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) {
        throw Error{Errc::system,
                    "the keeper thread cannot be started: " + os::error_text(error) +
                        "; where threads are not to be had, set the option keeper = false",
                    error};
    }
    keeper.running = true;
    // K7 acquire load <- K6. kept: as K6.
    while (keeper.tid.load(std::memory_order_acquire) == 0) {
        (void)os::futex_wait(keeper.tid, 0, for_ever);
    }
}

robust_list* node_of(const Attachment& attachment) noexcept {
    MemberEntry& entry = attachment.member_entry(attachment.member);
    static_assert(sizeof(robust_list) == sizeof(entry.robust_next));
    return reinterpret_cast<robust_list*>(&entry.robust_next);
}

}  // namespace

void keeper_adopt(Attachment& attachment) {
    if (!keeper.running) start();
    kept().insert(kept().begin(), &attachment);
    MemberEntry& entry = attachment.member_entry(attachment.member);
    robust_list* node = node_of(attachment);
    node->next = kept().size() > 1 ? node_of(*kept()[1]) : &keeper.list.list;
    // K7 acquire load <- K6. kept: start() has waited for it.
    const std::uint32_t tid = keeper.tid.load(std::memory_order_acquire);
    // K9 release store, no pair: the kernel compares it at the thread's death. kept: who sleeps
    // only watches it for a change.
    entry.death_word.store(tid | FUTEX_WAITERS, std::memory_order_release);
    entry.flags |= member_has_keeper;
    keeper.list.list.next = node;
    attachment.keeper = true;
}

void keeper_drop(Attachment& attachment) noexcept {
    if (!attachment.keeper) return;
    attachment.keeper = false;
    auto& order = kept();
    const auto at = std::find(order.begin(), order.end(), &attachment);
    robust_list* before = at == order.begin() ? &keeper.list.list : node_of(**(at - 1));
    before->next = at + 1 == order.end() ? &keeper.list.list : node_of(**(at + 1));
    order.erase(at);
    // K9 release store, no pair: nobody's any more. kept: as above.
    attachment.member_entry(attachment.member).death_word.store(0, std::memory_order_release);
    if (keeper.words.watched() == &attachment) keeper.words.watch(nullptr);
    keeper.words.await_unread(&attachment);
    if (!order.empty()) return keeper.words.poke();
    keeper.words.end();
    ::pthread_join(keeper.thread, nullptr);
    keeper.running = false;
}

void keeper_watch_parent(Attachment* attachment, MemberId parent, std::chrono::milliseconds grace) {
    const ProcessLock lock;
    if (!keeper.running) return;
    keeper.parent = parent;
    keeper.grace = grace;
    keeper.words.watch(attachment);
    keeper.words.poke();
}

void keeper_forget() noexcept {
    keeper.running = false;
    kept().clear();
    keeper.words.watch(nullptr);
}

}  // namespace lagoon::inline v1::detail
