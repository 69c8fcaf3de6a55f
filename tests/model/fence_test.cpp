// fence_test.cpp: a heavy fence that several share is one to each of them.
#include <array>

#include <catch2/catch.hpp>
#include <runtime/shared_fence.hpp>

#include "depth.hpp"
#include "programs.hpp"

using namespace model;
namespace detail = lagoon::detail;

namespace {

struct Desk {
    detail::FenceTickets fences;
    detail::Atomic<std::uint64_t> claim;
    std::array<detail::Atomic<std::uint64_t>, 2> asked;
    std::array<detail::Atomic<std::uint64_t>, 2> keeper_saw;
    std::array<detail::Atomic<std::uint64_t>, 2> thief_saw;  // 1 + the claim
};

/// As a keeper: the claim by a plain store, then a look at the questions.
void keep(Desk& desk) {
    desk.claim.store(1, relaxed);
    detail::light_fence();
    for (std::size_t i = 0; i < 2; ++i) {
        desk.keeper_saw[i].store(desk.asked[i].load(acquire), relaxed);
    }
}
auto ask(std::size_t i) {
    return [i](Desk& desk) {
        desk.asked[i].fetch_add(1, seq_cst);
        if (!detail::shared_fence(desk.fences)) fail("the fence was refused");
        desk.thief_saw[i].store(1 + desk.claim.load(acquire), relaxed);
    };
}

/// Neither thief may miss the claim whose keeper has missed its question. Counts the runs in which
/// one fence was enough for both.
Program beside_keeper(const char* name, std::uint64_t* shared) {
    return small_program<Desk>(name, {keep, ask(0), ask(1)}, [shared](Desk& desk) {
        for (std::size_t i = 0; i < 2; ++i) {
            require(desk.keeper_saw[i].load(relaxed) == 1 || desk.thief_saw[i].load(relaxed) == 2,
                    "keeper and thief have missed each other");
        }
        require(desk.fences.begun.load(relaxed) == desk.fences.ended.load(relaxed),
                "a fence seems to be at work");
        if (desk.fences.begun.load(relaxed) == 1) ++*shared;
    });
}

}  // namespace

TEST_CASE("model: a fence that two thieves share misses no claim") {
    for (const Under memory : {Under::coherent, Under::histories, Under::buffers}) {
        std::uint64_t shared = 0;
        look(beside_keeper("fence.shared", &shared), memory, 3);
        CHECK(shared > 0);
    }
}

TEST_CASE("model: a thief that dies in its fence does not keep the next one waiting") {
    const auto die = [](Desk& desk) {
        desk.asked[0].fetch_add(1, seq_cst);
        desk.fences.begun.fetch_add(1, seq_cst);
    };
    const auto program = small_program<Desk>("fence.death", {keep, die, ask(1)}, [](Desk& desk) {
        require(desk.keeper_saw[1].load(relaxed) == 1 || desk.thief_saw[1].load(relaxed) == 2,
                "keeper and thief have missed each other");
        const std::uint64_t begun = desk.fences.begun.load(relaxed);
        const std::uint64_t ended = desk.fences.ended.load(relaxed);
        // One that has begun behind all others is the last word.
        require(ended == begun || ended + 1 == begun, "the numbers are apart");
    });
    for (const Under memory : {Under::coherent, Under::histories, Under::buffers}) {
        look(program, memory, 3);
    }
}
