// fork_calls_test.cpp: a child that is forked in the middle of a call, by the user's own code in
// it, has no part in the call: what the parent has claimed stays claimed.
#include <lagoon/lagoon.hpp>

#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/pools.hpp"
#include "support/sanitizers.hpp"

using lagoon::Arena;
using lagoon::Count;
using lagoon::Outcome;
using lagoon::Slot;
using support::Ended;
using support::exited;
using support::SlotState;
using support::state_of;
using support::truth_of;
using support::unique_name;

namespace {

struct Wide {
    std::uint64_t words[4];
    friend bool operator==(const Wide&, const Wide&) = default;
};
constexpr Wide first{{1, 1, 1, 1}};
constexpr Wide second{{2, 2, 2, 2}};

struct Desk {
    lagoon::Value<Wide> wide{"wide", first};
    lagoon::Value<std::uint64_t> narrow{"narrow", 1};
    lagoon::Lock strict{"strict", {.strict_owner = true}};
    lagoon::Pool<Wide> pool{"pool", {.capacity = 2}};
    lagoon::Pool<Wide> reset{"reset",
                             {.capacity = 1, .on_death = lagoon::OnDeath::reset_then_reuse}};
};

constexpr int broken_contract = 42;
constexpr int unwound = 43;
constexpr int done = 0;

pid_t copy_process(bool plain) {
    std::fflush(nullptr);
    return plain ? static_cast<pid_t>(
                       ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr))
                 : ::fork();
}

#if defined(LAGOON_TEST_TSAN) || defined(LAGOON_TEST_ASAN)
// A sanitizer has locks of its own, which only fork puts in order for the child.
bool each_way() { return false; }
#else
bool each_way() { return GENERATE(false, true); }
#endif

/// A child that goes back into the call that its parent is in; what became of it.
class Fork {
public:
    explicit Fork(bool plain) : plain_{plain} {}

    /// To be called by the code that lagoon runs: true in the child. In the parent the child has
    /// ended.
    bool here() {
        const pid_t pid = copy_process(plain_);
        if (pid == 0) {
            in_child_ = true;
            lagoon::set_contract_handler([](const char*) noexcept { ::_exit(broken_contract); });
            return true;
        }
        int status = 0;
        while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        ended_ = WIFSIGNALED(status) ? support::killed_by(WTERMSIG(status))
                                     : exited(WEXITSTATUS(status));
        return false;
    }
    /// Behind the call: the child ends here.
    void end_child(int code) const {
        if (in_child_) ::_exit(code);
    }
    [[nodiscard]] Ended ended() const { return ended_; }

private:
    bool plain_;
    bool in_child_ = false;
    Ended ended_;
};

/// Runs `call`; in the child, tells how it came out of it.
template <class Call>
void call_with(Fork& fork, Call&& call) {
    try {
        call();
        fork.end_child(done);
    } catch (...) {
        fork.end_child(unwound);
        throw;
    }
}

}  // namespace

TEST_CASE("fork: a child forked in a factory leaves the slot to its parent", "[fork][child]") {
    Fork fork{each_way()};
    const bool throws = GENERATE(false, true);
    const auto desk = Arena<Desk>::create(unique_name("fork-calls"));
    lagoon::Lease<Wide> lease;
    const auto leave = [&](std::uint64_t before) {
        // The word is as it was, though the child has gone.
        if (truth_of(desk->pool, 0) != before) throw std::logic_error{"changed by the child"};
    };
    SECTION("that makes the resource") {
        call_with(fork, [&] {
            lease = desk->pool.acquire_or_create([&] {
                const auto before = truth_of(desk->pool, 0);
                if (fork.here()) {
                    if (throws) throw std::runtime_error{"in the child"};
                    return second;
                }
                leave(before);
                return first;
            });
        });
    }
    SECTION("that fills it in place") {
        call_with(fork, [&] {
            lease = desk->pool.acquire_or_create([&](Wide& wide, Slot) {
                const auto before = truth_of(desk->pool, 0);
                wide = first;
                if (fork.here()) {
                    if (throws) throw std::runtime_error{"in the child"};
                    return;
                }
                leave(before);
                if (!(wide == first)) throw std::logic_error{"overwritten by the child"};
            });
        });
    }
    REQUIRE(fork.ended() == exited(throws ? unwound : broken_contract));
    REQUIRE(lease);
    REQUIRE(*lease == first);
    REQUIRE(desk->pool.stats().create_failed == 0);
    REQUIRE(desk->pool.stats().damaged == 0);
    lease.give_back();
    REQUIRE(desk->pool.idle() == 1);
}

TEST_CASE("fork: a child forked in a factory that runs on a thread of its own ends there",
          "[fork][child]") {
    Fork fork{each_way()};
    const bool throws = GENERATE(false, true);
    const auto desk = Arena<Desk>::create(unique_name("fork-calls"));
    desk.hooks(desk->pool, {.factory = [&] {
                   if (!fork.here()) return first;
                   if (throws) throw std::runtime_error{"in the child"};
                   return second;
               }});
    const auto lease = desk->pool.acquire();
    REQUIRE(fork.ended() == exited(broken_contract));
    REQUIRE(*lease == first);
    REQUIRE(desk->pool.stats().create_failed == 0);
}

TEST_CASE("fork: a child forked in on_create leaves the slot to its parent", "[fork][child]") {
    Fork fork{each_way()};
    const bool throws = GENERATE(false, true);
    const auto desk = Arena<Desk>::create(unique_name("fork-calls"));
    std::uint64_t before = 0;
    std::uint64_t after = 1;
    desk.hooks(desk->pool, {.on_create = [&](Wide&, Slot slot) {
                   before = truth_of(desk->pool, slot.index());
                   if (fork.here() && throws) throw std::runtime_error{"in the child"};
                   after = truth_of(desk->pool, slot.index());
               }});
    call_with(fork, [&] { (void)desk->pool.add(first); });
    REQUIRE(fork.ended() == exited(throws ? unwound : broken_contract));
    REQUIRE(before == after);
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE(desk->pool.stats().create_failed == 0);
}

TEST_CASE("fork: a child forked in a hook leaves the slot to its parent", "[fork][child]") {
    Fork fork{each_way()};
    const bool throws = GENERATE(false, true);
    const auto name = unique_name("fork-calls");
    const auto desk = Arena<Desk>::create(name);
    int runs = 0;
    std::uint64_t before = 0;
    std::uint64_t after = 1;
    const auto hook_of = [&](auto& pool) {
        return [&](Wide&, Slot slot) {
            ++runs;
            before = truth_of(pool, slot.index());
            if (fork.here() && throws) throw std::runtime_error{"in the child"};
            after = truth_of(pool, slot.index());
            return true;
        };
    };
    // A borrower that dies leaves the slot to check or reset.
    const auto die_with = [&](auto& pool) {
        REQUIRE(pool.add(first));
        REQUIRE(support::in_child([&] {
                    auto lease = pool.acquire();
                    ::_exit(lease ? 0 : 1);
                    return 1;
                }) == exited(0));
    };
    SECTION("destroy, by discard") {
        desk.hooks(desk->pool, {.destroy = hook_of(desk->pool)});
        REQUIRE(desk->pool.add(first));
        call_with(fork, [&] { desk->pool.acquire().discard(); });
        REQUIRE(state_of(desk->pool, 0) == SlotState::empty);
    }
    SECTION("destroy, by clear") {
        desk.hooks(desk->pool, {.destroy = hook_of(desk->pool)});
        REQUIRE(desk->pool.add(first));
        call_with(fork, [&] { REQUIRE(desk->pool.clear() == 1); });
        REQUIRE(state_of(desk->pool, 0) == SlotState::empty);
    }
    SECTION("check, by reap") {
        desk.hooks(desk->pool, {.check = hook_of(desk->pool)});
        die_with(desk->pool);
        call_with(fork, [&] { REQUIRE(desk.reap().hooks_run == 1); });
        REQUIRE(desk->pool.idle() == 1);
    }
    SECTION("reset, by who acquires") {
        desk.hooks(desk->reset, {.reset = hook_of(desk->reset)});
        die_with(desk->reset);
        call_with(fork, [&] { REQUIRE(desk->reset.acquire()); });
        REQUIRE(desk->reset.idle() == 1);
    }
    SECTION("check, by who gathers several") {
        desk.hooks(desk->pool, {.check = hook_of(desk->pool)});
        die_with(desk->pool);
        REQUIRE(desk->pool.add(second));
        call_with(fork, [&] { REQUIRE(desk->pool.acquire_n(Count{2}).size() == 2); });
        REQUIRE(desk->pool.idle() == 2);
    }
    REQUIRE(fork.ended() == exited(broken_contract));
    REQUIRE(runs == 1);
    REQUIRE(before == after);
    REQUIRE(desk->pool.stats().damaged == 0);
}

namespace {

enum class Place { scratch_constructor, constructor, on_create };

/// Where the struct below forks, and what its child does then.
struct Inside {
    Fork* fork = nullptr;
    Place place{};
    bool throws = false;
    int constructed = 0;
};
Inside inside;

struct ForkingDesk {
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};

    ForkingDesk() {
        const Place run =
            inside.constructed++ == 0 ? Place::scratch_constructor : Place::constructor;
        if (inside.fork != nullptr && inside.place == run) copy();
    }
    void on_create() {
        if (!pool.add(7)) throw std::logic_error{"no place"};
        if (inside.fork != nullptr && inside.place == Place::on_create) copy();
    }

private:
    static void copy() {
        if (std::exchange(inside.fork, nullptr)->here() && inside.throws) {
            throw std::runtime_error{"in the child"};
        }
    }
};

}  // namespace

TEST_CASE("fork: a child forked while an arena is made leaves it to its parent", "[fork][child]") {
    Fork fork{each_way()};
    inside = {&fork, GENERATE(Place::scratch_constructor, Place::constructor, Place::on_create),
              GENERATE(false, true)};
    const bool throws = inside.throws;
    const auto name = unique_name("fork-calls");
    Arena<ForkingDesk> desk;
    call_with(fork, [&] { desk = Arena<ForkingDesk>::create(name); });
    REQUIRE(fork.ended() == exited(throws ? unwound : broken_contract));
    const auto lease = desk->pool.try_acquire();
    REQUIRE(lease);
    // The parent is a living member, and its lease is nobody's to take back.
    REQUIRE(support::in_child([&] {
                const auto other = Arena<ForkingDesk>::open(name);
                if (other.reap() != lagoon::Reaped{}) return 1;
                if (other->pool.try_acquire()) return 2;
                return lagoon::ArenaView::open(name).processes().size() == 2 ? 0 : 3;
            }) == exited(0));
    REQUIRE(desk->pool.leased() == 1);
}

TEST_CASE("fork: a child forked in a change of a wide value leaves it to its parent",
          "[fork][child]") {
    Fork fork{each_way()};
    const bool throws = GENERATE(false, true);
    const auto desk = Arena<Desk>::create(unique_name("fork-calls"));
    bool still_claimed = false;
    Wide before{};
    call_with(fork, [&] {
        before = desk->wide.update([&](const Wide& found) {
            if (fork.here()) {
                // What the child changes on its own account is its own.
                desk->narrow.store(2);
                if (throws) throw std::runtime_error{"in the child"};
                return Wide{{3, 3, 3, 3}};
            }
            const auto& core = reinterpret_cast<const lagoon::detail::ValueCore&>(desk->wide);
            // Y1 acquire load <- V1.
            still_claimed = (core.selector.load(std::memory_order_acquire) &
                             lagoon::detail::selector::claimed_bit) != 0;
            return found == first ? second : found;
        });
    });
    REQUIRE(fork.ended() == exited(throws ? unwound : broken_contract));
    REQUIRE(still_claimed);
    REQUIRE(before == first);
    REQUIRE(desk->wide.load() == second);
    REQUIRE(desk->narrow.load() == 2);
    desk->wide.store(first);
    REQUIRE(desk->wide.load() == first);
}

TEST_CASE("fork: a child's copy of a guard does not unlock a strict lock", "[fork][child]") {
    Fork fork{each_way()};
    const auto desk = Arena<Desk>::create(unique_name("fork-calls"));
    call_with(fork, [&] {
        const std::lock_guard guard{desk->strict};
        (void)fork.here();
        if (fork.ended() == exited(broken_contract)) REQUIRE(desk->strict.is_locked());
    });
    REQUIRE(fork.ended() == exited(broken_contract));
    REQUIRE_FALSE(desk->strict.is_locked());
}

TEST_CASE("fork: a child forked in a predicate is not counted among those who wait",
          "[fork][child]") {
    if (support::under_tsan) {
        return support::skip("fork: in a predicate",
                             "thread sanitizer cannot follow a forked child's keeper");
    }
    Fork fork{each_way()};
    const auto name = unique_name("fork-calls");
    auto desk = Arena<Desk>::create(name);
    int code = done;
    bool looked = false;
    call_with(fork, [&] {
        REQUIRE(desk->narrow.wait([&](std::uint64_t) {
            // The second look is within the wait.
            if (!std::exchange(looked, true)) return false;
            if (fork.here()) desk->wide.store(second);  // attaches the child
            return true;
        }) == Outcome::ok);
        if (looked && fork.ended() == Ended{}) {
            // The child: it may leave, for none of its threads waits.
            code = support::code_of([&] { desk.close(); }) == lagoon::Errc{} ? done : 1;
            fork.end_child(code);
        }
    });
    REQUIRE(fork.ended() == exited(done));
    REQUIRE(desk->wide.load() == second);
    desk.close();
}
