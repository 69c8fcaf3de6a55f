// engine_test.cpp: the engine finds known mistakes, and lets their mended forms pass.
#include <catch2/catch.hpp>
#include <set>

#include <model/engine/heap.hpp>
#include <model/engine/weaken.hpp>

#include "programs.hpp"

using namespace model;

namespace {

struct Stack {
    Word<std::uint64_t> head;     // node number, above it a tag
    Word<std::uint64_t> next[4];  // of node n
    Word<std::uint64_t> owner[4];
};

constexpr std::uint64_t node_mask = 0xff;

void take(Stack& s, std::uint64_t head, std::uint64_t me) {
    const std::uint64_t before = s.owner[head & node_mask].exchange(me, relaxed);
    require(before == 0, "one node was popped by two");
}

std::uint64_t pop(Stack& s, bool tagged, std::uint64_t me) {
    for (;;) {
        std::uint64_t head = s.head.load(acquire);
        if ((head & node_mask) == 0) return 0;
        const std::uint64_t next = s.next[head & node_mask].load(relaxed);
        const std::uint64_t after = tagged ? ((head & ~node_mask) + 256) | next : next;
        if (s.head.compare_exchange_strong(head, after, acq_rel, acquire)) {
            take(s, head, me);
            return head & node_mask;
        }
    }
}

void push(Stack& s, bool tagged, std::uint64_t node) {
    s.owner[node].store(0, relaxed);
    for (;;) {
        std::uint64_t head = s.head.load(relaxed);
        s.next[node].store(head & node_mask, relaxed);
        const std::uint64_t after = tagged ? ((head & ~node_mask) + 256) | node : node;
        if (s.head.compare_exchange_strong(head, after, acq_rel, relaxed)) return;
    }
}

Program treiber(const char* name, bool tagged) {
    Program program = small_program<Stack>(name, {[=](Stack& s) {
                                                      pop(s, tagged, 1);
                                                      pop(s, tagged, 1);
                                                  },
                                                  [=](Stack& s) {
                                                      const auto first = pop(s, tagged, 2);
                                                      pop(s, tagged, 2);
                                                      if (first != 0) push(s, tagged, first);
                                                  }});
    program.begin = [begin = program.begin] {
        auto cast = begin();
        auto& s = *static_cast<Stack*>(shared_memory());
        s.head.store(1, relaxed);
        s.next[1].store(2, relaxed);
        return cast;
    };
    return program;
}

struct Door {
    Word<std::uint32_t> event, open;
};

/// One opens the door and wakes; the other looks and sleeps.
Program wake_up(const char* name, bool moves_event) {
    return small_program<Door>(name,
                               {[=](Door& s) {
                                    s.open.store(1, release);
                                    if (moves_event) s.event.fetch_add(1, release);
                                    futex_wake(s.event.address(), 1);
                                },
                                [](Door& s) {
                                    for (;;) {
                                        const auto seen = s.event.load(acquire);
                                        if (s.open.load(acquire) == 1) return;
                                        std::size_t which = 0;
                                        futex_wait({{s.event.address(), seen}}, never, &which);
                                    }
                                }});
}

struct Lane {
    Word<std::uint64_t> lane;   // incarnation * 2 + live
    Word<std::uint64_t> owner;  // of the thing: generation, and in the lowest bit: lane 1 has it
};

constexpr int lane_lock = 1;

void claim_lane(Lane& s, int process) {
    for (;;) {
        std::uint64_t state = s.lane.load(acquire);
        if ((state & 1) != 0 || !kernel_lock(lane_lock, process)) {
            relax();
            continue;
        }
        if (s.lane.load(acquire) == state) {
            s.lane.store(state + 3, release);
            return;
        }
        kernel_unlock(lane_lock, process);
    }
}

void hold(Lane& s) {
    std::uint64_t found = s.owner.load(acquire);
    if ((found & 1) != 0) return;
    std::uint64_t mine = found + 3;
    if (!s.owner.compare_exchange_strong(found, mine, acq_rel, relaxed)) return;
    require(s.owner.compare_exchange_strong(mine, mine + 1, acq_rel, relaxed),
            "it was taken from a living owner");
}

/// Takes the thing from lane 1 when that lane's process is dead.
void reap(Lane& s, bool asks_again) {
    const std::uint64_t state = s.lane.load(acquire);
    if ((state & 1) == 0 || kernel_is_locked(lane_lock) || s.lane.load(acquire) != state) return;
    std::uint64_t owner = s.owner.load(acquire);
    if ((owner & 1) != 0 && (!asks_again || s.lane.load(acquire) == state)) {
        s.owner.compare_exchange_strong(owner, owner + 1, acq_rel, relaxed);
    }
    std::uint64_t dead = state;
    s.lane.compare_exchange_strong(dead, state - 1, acq_rel, relaxed);
}

/// The first process is killed anywhere, two reap it, another takes its lane over.
Program reaping(const char* name, bool asks_again) {
    Program program =
        small_program<Lane>(name, {[](Lane& s) {
                                       claim_lane(s, 0);
                                       hold(s);
                                   },
                                   [=](Lane& s) { reap(s, asks_again); },
                                   [=](Lane& s) {
                                       await([] { return is_buried(0) || is_finished(0); });
                                       if (!is_buried(0)) return;
                                       reap(s, asks_again);
                                       claim_lane(s, 2);
                                       hold(s);
                                   }});
    program.mortal = {0};
    return program;
}

struct Number {
    Word<std::uint64_t> sum;
    std::uint64_t plain;
};

}  // namespace

TEST_CASE("model: an untagged stack's ABA is found, and the tagged stack passes") {
    const Program broken = treiber("treiber.untagged", false);
    CHECK(explore(broken, {.preemptions = 2}).failed);
    CHECK(explore(broken, {.executions = 200'000}, Search::random).failed);
    CHECK(explore(broken, {.executions = 200'000}, Search::priorities).failed);
    for (const std::uint32_t stale : {0U, 1U}) {
        const Report report =
            run(treiber("treiber.tagged", true), {.preemptions = 3, .stale = stale});
        CHECK(report.exhausted);
    }
}

TEST_CASE("model: a lost wake-up is a waiter stuck for ever") {
    const Report broken = explore(wake_up("wake-up.lost", false), {});
    CHECK(broken.failed);
    CHECK(broken.failure == "stuck for ever: b");
    CHECK(run(wake_up("wake-up", true), {.preemptions = 4}).exhausted);
    CHECK(run(wake_up("wake-up.stale", true), {.preemptions = 4, .stale = 2}).exhausted);
    CHECK(run(wake_up("wake-up.x86", true), {.preemptions = 4, .store_buffers = true}).exhausted);
}

TEST_CASE("model: a reaper that does not look at the incarnation again robs the next owner") {
    CHECK(explore(reaping("reap.once", false), {.preemptions = 3, .kills = 1}).failed);
    const Report mended = run(reaping("reap.twice", true), {.preemptions = 3, .kills = 1});
    CHECK(mended.exhausted);
    CHECK(mended.kills > 0);
}

TEST_CASE("model: who sleeps on a dead process's death word is woken") {
    const auto program = [](bool marks) {
        Program made = small_program<Door>(
            marks ? "death.marked" : "death.unmarked",
            {[](Door&) { await([] { return false; }); },
             [](Door& s) {
                 std::size_t which = 0;
                 const std::uint32_t alive = s.open.load(relaxed);
                 futex_wait({{s.event.address(), 0}, {s.open.address(), alive}}, never, &which);
                 require(which == 1, "the wrong word");
             }});
        made.mortal = {0};
        made.begin = [begin = made.begin] {
            auto cast = begin();
            static_cast<Door*>(shared_memory())->open.store(0x80000007, relaxed);
            return cast;
        };
        if (marks) {
            made.killed = [](int) {
                kernel_mark(static_cast<Door*>(shared_memory())->open.address(), 7);
            };
        }
        return made;
    };
    CHECK(explore(program(false), {.kills = 1}).failed);
    // Who is not killed waits for ever here.
    const Report unkilled = explore(program(true), {.kills = 1});
    CHECK(unkilled.failure.find("stuck for ever: a") == 0);
}

TEST_CASE("model: a mutex has one holder, also where two waited for it at one time") {
    const auto work = [](Number& s) {
        for (int i = 0; i < 2; ++i) {
            mutex_lock(0);
            require(s.sum.exchange(1, relaxed) == 0, "two hold the mutex");
            ++s.plain;
            require(s.sum.exchange(0, relaxed) == 1, "two hold the mutex");
            mutex_unlock(0);
        }
    };
    const Report report = run(small_program<Number>("mutex", {work, work, work}), {});
    CHECK(report.failure.empty());
    CHECK(report.exhausted);
}

TEST_CASE("model: a loop that never ends is reported") {
    const auto program = small_program<Number>("livelock", {[](Number& s) {
                                                   while (s.sum.load(relaxed) == 0) relax();
                                               }});
    CHECK(explore(program, {.steps = 500}).failure.find("no end after") == 0);
}

TEST_CASE("model: plain accesses that nothing orders are a race") {
    const auto program = small_program<Number>(
        "race", {[](Number& s) { s.plain = 1; }, [](Number& s) { s.plain = 2; }});
    CHECK(explore(program, {}).failure.find("races") != std::string::npos);
}

TEST_CASE("model: a schedule's text replays the failure it came from") {
    for (const Search search : {Search::exhaustive, Search::random, Search::priorities}) {
        const Program broken = wake_up("wake-up.replayed", false);
        const Report found = explore(broken, {}, search);
        REQUIRE(found.failed);
        ::freopen("/dev/null", "w", stderr);
        const Report again = replay(broken, {}, found.schedule);
        CHECK(again.failure == found.failure);
        CHECK(again.executions == 1);
    }
}

TEST_CASE("model: a compare-and-swap torn in two loses an increment") {
    const auto program = small_program<Number>(
        "torn",
        {[](Number& s) {
             std::uint64_t found = s.sum.load(relaxed);
             while (!s.sum.compare_exchange_strong(found, found + 1, relaxed, relaxed)) {
             }
         },
         [](Number& s) { s.sum.fetch_add(1, relaxed); }},
        [](Number& s) { require(s.sum.load(relaxed) == 2, "an increment was lost"); });
    CHECK(run(program, {}).exhausted);
    set_weaker("engine_test.cpp:1-9999:torn");
    CHECK(explore(program, {}).failed);
    set_weaker("");
    CHECK(explore(program, {}).exhausted);
}

TEST_CASE("model: remembering states loses no end") {
    const auto ends_of = [](Program program, Bounds bounds, bool remember) {
        std::set<std::vector<std::uint64_t>> ends;
        program.check = [&] {
            heap::belongs_to(heap::Of::engine);
            const auto* words = static_cast<const std::uint64_t*>(shared_memory());
            ends.emplace(words, words + 2);
        };
        bounds.remember = remember;
        bounds.executions = 3'000'000;
        const Report report = run(program, bounds);
        CHECK(report.exhausted);
        return ends;
    };
    const auto same_ends = [&](const Program& program, const Bounds& bounds) {
        const auto all = ends_of(program, bounds, false);
        CHECK(all.size() > 1);
        CHECK(ends_of(program, bounds, true) == all);
    };
    same_ends(reaping("reap.all", true), {.preemptions = 2, .kills = 1});
    same_ends(treiber("treiber.all", true), {.preemptions = 2, .stale = 1});
    same_ends(treiber("treiber.all", true), {.preemptions = 2, .store_buffers = true});
}

TEST_CASE("model: what is cut is not called exhausted") {
    const Report report = explore(treiber("treiber.cut", true), {.executions = 5});
    CHECK(report.executions == 5);
    CHECK_FALSE(report.exhausted);
}
