// wait.cpp: sleeping on an event word, and on the death words of all other members.
#include <algorithm>
#include <array>
#include <thread>

#include <lagoon/detail/wait.hpp>

#include "attachment.hpp"
#include "keeper.hpp"
#include "os.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t first_cap_ns = 50'000'000;
constexpr std::uint64_t last_cap_ns = 1'000'000'000;
// Between a death's hint and its proof; longer with every look, for a hint may be false.
constexpr std::chrono::microseconds dying_pause{100};
constexpr std::uint32_t looks_per_pause = 16;
// Before the first pause: a small process is gone before a timer comes back.
constexpr std::chrono::milliseconds quick_time{2};
constexpr int quick_looks = spin_rounds(1000);
constexpr std::uint32_t polls_before_doubt = 128;  // some 50 ms
constexpr std::size_t most_words = 128;

/// Between 3/4 and 5/4, so that many sleepers do not look at the same moment.
std::uint64_t jittered(std::uint64_t ns, const void* salt) noexcept {
    const auto mix =
        reinterpret_cast<std::uintptr_t>(salt) * 0x9e3779b97f4a7c15 ^
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    return ns - ns / 4 + mix % (ns / 2);
}

using WatchedWords = std::array<os::Watched, most_words>;

/// The event, the arena's, and the death words of the others: as many as there is room for, each
/// time others.
std::size_t watch_all(Attachment& attachment, const os::Watched& event, std::uint32_t& rotation,
                      WatchedWords& words) noexcept {
    std::size_t count = 0;
    words[count++] = event;
    // E2 acquire load <- E1: a new member must be watched, too. kept: the kernel compares the word
    // again before the sleep.
    words[count] = {&attachment.header->event,
                    attachment.header->event.load(std::memory_order_acquire)};
    ++count;
    const std::uint32_t members = attachment.header->max_members;
    for (std::uint32_t n = 0; n < members && count < most_words; ++n) {
        const std::uint32_t i = (n + rotation) % members;
        if (i == attachment.member) continue;
        MemberEntry& entry = attachment.member_entry(i);
        // E3 acquire load, no pair: the kernel marks it. kept: as E2.
        const std::uint32_t word = entry.death_word.load(std::memory_order_acquire);
        if (word != 0 && (word & death_mark) == 0) words[count++] = {&entry.death_word, word};
    }
    if (members > most_words - 2)
        rotation = (rotation + static_cast<std::uint32_t>(most_words) - 2) % members;
    return count;
}

}  // namespace

void Sleeper::Poke::operator()() const noexcept {
    // E1 release RMW -> E2, W5, D2, V5: the stop request is seen by who looks again. kept: no scene
    // has stop tokens, whose own lock orders the request; torn, it would lose another's wake-up.
    event->fetch_add(step, std::memory_order_release);
    os::futex_wake(*event, everybody);
}

Sleeper::Sleeper(const void* object, Atomic<std::uint32_t>& event, const Patience& patience,
                 std::uint32_t step)
    : attachment_{lane_of(object).attachment},
      epoch_{process_epoch()},
      event_{event},
      patience_{patience},
      poke_{std::in_place, patience.stop, Poke{&event, step}},
      cap_ns_{first_cap_ns} {
    // X4 relaxed RMW, no pair: whoever closes the arena while another thread comes to it has
    // broken a contract; this tells of those who are there. kept: in private memory; torn, one
    // would not be told of.
    attachment_->sleepers.fetch_add(1, std::memory_order_relaxed);
}

Sleeper::~Sleeper() {
    // A stop request that runs it in another thread is waited for.
    poke_.reset();
    if (!is_epoch_of_process(epoch_)) return;  // forked in a predicate: counted in the parent
    // X6 release RMW -> X5: nothing of the mapping is touched by the waiting after it. kept: as X4
    // and X5.
    attachment_->sleepers.fetch_sub(1, std::memory_order_release);
}

bool Sleeper::expired() const noexcept {
    return patience_.deadline != for_ever && std::chrono::steady_clock::now() >= patience_.deadline;
}

bool Sleeper::arena_closed() const noexcept {
    // E4 acquire load <- Q1. kept: a flag alone.
    return attachment_->header->state.load(std::memory_order_acquire) != 0;
}

/// Somebody is about to be dead: looks until that is proved, or something else comes, or for so
/// long that it is not small. Lets others run, the dying one among them.
Woken Sleeper::look_quickly(std::uint32_t seen, Deadline look_at, bool* dying) {
    const Deadline until =
        std::min({std::chrono::steady_clock::now() + quick_time, patience_.deadline, look_at});
    while (*dying && quick_looks_ < quick_looks && std::chrono::steady_clock::now() < until) {
        ++quick_looks_;
        std::this_thread::yield();
        // E2 acquire load <- E1. kept: whoever goes to sleep is asked by the kernel.
        if (event_.load(std::memory_order_acquire) != seen) return Woken::event;
        if (repair_the_marked(*attachment_, dying).processes == 0) continue;
        quick_looks_ = 0;
        return Woken::death;
    }
    return Woken::cap;
}

Woken Sleeper::sleep(std::uint32_t seen, Deadline look_at) {
    Attachment& attachment = *attachment_;
    WatchedWords words;
    const std::size_t count = watch_all(attachment, {&event_, seen}, rotation_, words);
    // Looked for after the words were read: a death in between has changed one of those that are
    // watched, or is found here.
    bool dying = false;
    if (repair_the_marked(attachment, &dying).processes > 0) return Woken::death;
    if (dying) {
        const Woken quick = look_quickly(seen, look_at, &dying);
        if (quick != Woken::cap) return quick;
    }
    const auto now = std::chrono::steady_clock::now();
    const auto pause = dying_pause * (1 + std::min(polls_, polls_before_doubt) / looks_per_pause);
    // Looks that come more often than caps do not put them off.
    if (cap_at_ == for_ever) cap_at_ = now + std::chrono::nanoseconds{jittered(cap_ns_, this)};
    const Deadline cap = dying ? now + pause : cap_at_;
    std::size_t which = 0;
    const os::Slept slept = os::futex_wait_any(
        {words.data(), count}, std::min({patience_.deadline, cap, look_at}), &which);
    const bool looks =
        look_at != for_ever && std::chrono::steady_clock::now() >= look_at && look_at < cap_at_;
    if (!looks) cap_at_ = for_ever;
    switch (slept) {
        case os::Slept::woken:
        case os::Slept::changed:
            if (which <= 1 && slept == os::Slept::woken) return Woken::event;
            if (repair_the_marked(attachment, &dying).processes > 0) return Woken::death;
            if (dying && look_quickly(seen, look_at, &dying) == Woken::death) return Woken::death;
            return Woken::event;
        case os::Slept::interrupted: return Woken::event;
        case os::Slept::refused:
        case os::Slept::timed_out: break;
    }
    if (expired()) return Woken::deadline;
    if (looks) return Woken::event;
    if (dying && ++polls_ % polls_before_doubt != 0) return Woken::event;
    // The cap guards against lost hints: also against deaths that no keeper could announce.
    const bool repaired = repair_the_dead(attachment).processes > 0;
    // Where this process cannot run the heavy fence but others rely on it, the cap is what ends a
    // sleep that a release has missed, and stays short.
    const bool blind = attachment.others_light() && !attachment.light_store;
    if (slept == os::Slept::timed_out && !blind) cap_ns_ = std::min(cap_ns_ * 2, last_cap_ns);
    return repaired ? Woken::death : Woken::cap;
}

void wake(Atomic<std::uint32_t>& event, int sleepers) noexcept {
    // E1 release RMW -> E2, W5, D2, V5: what changed is seen by who looks again. kept: who drains a
    // pool has nothing else that orders its look at the slots, and the suite's scenes of that are
    // cut before they show it; all others have marked their wait in between.
    event.fetch_add(1, std::memory_order_release);
    os::futex_wake(event, sleepers);
}

}  // namespace lagoon::inline v1::detail
