// litmus_test.cpp: the two memory models show what they should and nothing that they must not.
#include <catch2/catch.hpp>

#include "programs.hpp"

using namespace model;

namespace {

struct Two {
    Word<std::uint64_t> x, y, r[2];
    std::uint64_t data;
};

const Bounds histories{.preemptions = 4, .stale = 2};
const Bounds buffers{.preemptions = 4, .store_buffers = true};

/// Both write, both read the other's; may both read 0?
Program store_buffering(const char* name, std::memory_order store, std::memory_order load) {
    return small_program<Two>(name,
                              {[=](Two& s) {
                                   s.x.store(1, store);
                                   s.r[0].store(s.y.load(load), relaxed);
                               },
                               [=](Two& s) {
                                   s.y.store(1, store);
                                   s.r[1].store(s.x.load(load), relaxed);
                               }},
                              [](Two& s) {
                                  require(s.r[0].load(relaxed) + s.r[1].load(relaxed) != 0,
                                          "both missed the other's store");
                              });
}

/// The same with nothing on one side and the kernel's barrier on the other.
Program asymmetric(const char* name, bool barrier) {
    return small_program<Two>(name,
                              {[](Two& s) {
                                   s.x.store(1, release);
                                   s.r[0].store(s.y.load(acquire), relaxed);
                               },
                               [=](Two& s) {
                                   s.y.store(1, release);
                                   if (barrier) barrier_everywhere();
                                   s.r[1].store(s.x.load(acquire), relaxed);
                               }},
                              [](Two& s) {
                                  require(s.r[0].load(relaxed) + s.r[1].load(relaxed) != 0,
                                          "both missed the other's store");
                              });
}

/// Data, then a flag.
Program message(const char* name, std::memory_order store, std::memory_order load) {
    return small_program<Two>(name, {[=](Two& s) {
                                         s.data = 42;
                                         s.x.store(1, store);
                                     },
                                     [=](Two& s) {
                                         if (s.x.load(load) == 1 && s.data != 42) fail("torn");
                                     }});
}

/// The flag is handed on by somebody in between.
Program relay(const char* name, bool by_update) {
    return small_program<Two>(name, {[](Two& s) {
                                         s.data = 42;
                                         s.x.store(1, release);
                                     },
                                     [=](Two& s) {
                                         if (by_update) {
                                             s.x.fetch_add(1, relaxed);
                                         } else if (s.x.load(relaxed) == 1) {
                                             s.x.store(2, relaxed);
                                         }
                                     },
                                     [](Two& s) {
                                         if (s.x.load(acquire) == 2 && s.data != 42) fail("torn");
                                     }});
}

}  // namespace

TEST_CASE("model: store buffering shows with plain stores and not with seq_cst ones") {
    for (const Bounds& bounds : {histories, buffers}) {
        CHECK(explore(store_buffering("sb.relaxed", relaxed, relaxed), bounds).failed);
        CHECK(explore(store_buffering("sb.acq_rel", release, acquire), bounds).failed);
        CHECK(run(store_buffering("sb.seq_cst", seq_cst, seq_cst), bounds).exhausted);
    }
    CHECK(explore(store_buffering("sb.half", seq_cst, acquire), histories).failed);
}

TEST_CASE("model: a seq_cst load stands before a swap that is not seq_cst, where it may") {
    const auto program = [](const char* name, std::memory_order swap) {
        const auto both = [=](Word<std::uint64_t>& mine, Word<std::uint64_t>& other,
                              Word<std::uint64_t>& result) {
            mine.exchange(1, swap);
            result.store(other.load(seq_cst), relaxed);
        };
        return small_program<Two>(
            name,
            {[=](Two& s) { both(s.x, s.y, s.r[0]); }, [=](Two& s) { both(s.y, s.x, s.r[1]); }},
            [](Two& s) {
                require(s.r[0].load(relaxed) + s.r[1].load(relaxed) != 0,
                        "both missed the other's store");
            });
    };
    CHECK(explore(program("swaps.relaxed", relaxed), histories).failed);
    CHECK(explore(program("swaps.acq_rel", acq_rel), histories).failed);
    CHECK(run(program("swaps.seq_cst", seq_cst), histories).exhausted);
    // On x86 every swap empties the buffer.
    CHECK(run(program("swaps.x86", relaxed), buffers).exhausted);
}

TEST_CASE("model: a seq_cst load comes behind those whose doings it knows of") {
    // Between the two stores stands a third actor, who has seen the first.
    const auto program = [](const char* name, std::memory_order hears) {
        return small_program<Two>(name, {[](Two& s) { s.x.store(1, seq_cst); },
                                         [](Two& s) {
                                             if (s.x.load(seq_cst) == 1) s.y.store(1, release);
                                         },
                                         [=](Two& s) {
                                             if (s.y.load(hears) != 1) return;
                                             require(s.x.load(seq_cst) == 1, "it went back");
                                         }});
    };
    CHECK(explore(program("heard.relaxed", relaxed), histories).failed);
    CHECK(run(program("heard.acquire", acquire), histories).exhausted);
    CHECK(run(program("heard.seq_cst", seq_cst), histories).exhausted);
}

TEST_CASE("model: without buffers and old stores there is no store buffering") {
    CHECK(run(store_buffering("sb.coherent", relaxed, relaxed), {.preemptions = 4}).exhausted);
}

TEST_CASE("model: the kernel's barrier on one side is enough for both") {
    for (const Bounds& bounds : {histories, buffers}) {
        CHECK(explore(asymmetric("sb.no-barrier", false), bounds).failed);
        CHECK(run(asymmetric("sb.barrier", true), bounds).exhausted);
    }
}

TEST_CASE("model: the kernel's barrier does not reach a process that is not registered") {
    Program program = asymmetric("sb.unregistered", true);
    program.reached = [](int process) { return process == 1; };
    for (const Bounds& bounds : {histories, buffers}) CHECK(explore(program, bounds).failed);
}

TEST_CASE("model: a missing release or acquire is a race of the plain data") {
    for (const Bounds& bounds : {histories, buffers, Bounds{}}) {
        CHECK(explore(message("mp.no-release", relaxed, acquire), bounds).failed);
        CHECK(explore(message("mp.no-acquire", release, relaxed), bounds).failed);
        CHECK(run(message("mp", release, acquire), bounds).exhausted);
    }
}

TEST_CASE("model: a release sequence goes on through updates and ends at a store") {
    CHECK(run(relay("relay.update", true), histories).exhausted);
    CHECK(explore(relay("relay.store", false), histories).failed);
}

TEST_CASE("model: independent readers may disagree unless all is seq_cst") {
    const auto program = [](const char* name, std::memory_order store, std::memory_order load) {
        struct Four {
            Word<std::uint64_t> x, y, r[4];
        };
        return small_program<Four>(
            name,
            {[=](Four& s) { s.x.store(1, store); }, [=](Four& s) { s.y.store(1, store); },
             [=](Four& s) {
                 s.r[0].store(s.x.load(load), relaxed);
                 s.r[1].store(s.y.load(load), relaxed);
             },
             [=](Four& s) {
                 s.r[2].store(s.y.load(load), relaxed);
                 s.r[3].store(s.x.load(load), relaxed);
             }},
            [](Four& s) {
                const bool disagree = s.r[0].load(relaxed) == 1 && s.r[1].load(relaxed) == 0 &&
                                      s.r[2].load(relaxed) == 1 && s.r[3].load(relaxed) == 0;
                require(!disagree, "the readers saw the stores in opposite orders");
            });
    };
    CHECK(explore(program("iriw.acq_rel", release, acquire), histories).failed);
    CHECK(run(program("iriw.seq_cst", seq_cst, seq_cst), histories).exhausted);
    CHECK(run(program("iriw.loads", release, seq_cst), histories).exhausted);
    // x86 never shows it.
    CHECK(run(program("iriw.x86", release, acquire), buffers).exhausted);
}

TEST_CASE("model: who lags reads an old store again, and the bound counts it once") {
    const auto program = small_program<Two>(
        "lag", {[](Two& s) { s.x.store(1, relaxed); },
                [](Two& s) {
                    await([] { return is_finished(0); });
                    const auto sum = s.x.load(relaxed) + s.x.load(relaxed) + s.x.load(relaxed);
                    require(sum != 0, "three old values");
                }});
    CHECK(run(program, {.preemptions = 4, .stale = 1}).exhausted);
    CHECK(run(program, {.preemptions = 4, .stale = 2}).exhausted);
    CHECK(explore(program, {.preemptions = 4, .stale = 1, .lag = true}).failed);
}

TEST_CASE("model: one location's stores are seen in one order") {
    const auto program =
        small_program<Two>("coherence", {[](Two& s) {
                                             s.x.store(1, relaxed);
                                             s.x.store(2, relaxed);
                                         },
                                         [](Two& s) {
                                             const auto first = s.x.load(relaxed);
                                             require(s.x.load(relaxed) >= first, "went back");
                                         }});
    CHECK(run(program, histories).exhausted);
    CHECK(run(program, buffers).exhausted);
}
