// word_test.cpp: the bits of a slot's words, at compile time where they can be.
#include <lagoon/detail/word.hpp>

#include <catch2/catch.hpp>

#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/value_core.hpp>

namespace {

using lagoon::detail::DirtyReason;
using lagoon::detail::SlotState;
namespace word = lagoon::detail::word;
namespace meta = lagoon::detail::meta;
namespace selector = lagoon::detail::selector;

// The fields share no bit, and all bits are some field's but the thief lane's ten.
static_assert((word::state_mask & word::owner_mask) == 0);
static_assert((word::owner_mask & word::entry_mask) == 0);
static_assert((word::entry_mask & word::recovered_bit) == 0);
static_assert((word::recovered_bit & word::generation_mask) == 0);
static_assert((word::state_mask | word::owner_mask | word::entry_mask | word::recovered_bit |
               word::generation_mask | std::uint64_t{0x3ff} << 19) == ~std::uint64_t{0});
static_assert(word::owner(~std::uint64_t{0}) == lagoon::detail::no_lane_number);

// Zeroed memory is an empty slot that has never been filled.
static_assert(word::state(0) == SlotState::empty && word::generation(0) == 0);
static_assert(meta::fill(0) == 0 && meta::deaths(0) == 0);

}  // namespace

TEST_CASE("word: next names state and owner, counts one, and keeps recovered") {
    const std::uint64_t held = word::next(0, SlotState::held, 1022);
    CHECK(word::state(held) == SlotState::held);
    CHECK(word::owner(held) == 1022);
    CHECK(word::generation(held) == 1);
    CHECK_FALSE(word::recovered(held));
    const std::uint64_t free = word::next(held | word::recovered_bit, SlotState::free);
    CHECK(word::state(free) == SlotState::free);
    CHECK(word::owner(free) == 0);
    CHECK(word::generation(free) == 2);
    CHECK(word::recovered(free));
}

TEST_CASE("word: next_dirty sets recovered and says why") {
    const std::uint64_t held = word::next(0, SlotState::held, 7);
    for (const auto why : {DirtyReason::borrower_died, DirtyReason::must_destroy}) {
        const std::uint64_t dirty = word::next_dirty(held, why);
        CHECK(word::state(dirty) == SlotState::dirty);
        CHECK(word::reason(dirty) == why);
        CHECK(word::recovered(dirty));
        CHECK(word::generation(dirty) == 2);
        CHECK(word::owner(dirty) == 0);
    }
}

TEST_CASE("word: a state that is not at rest names its owner, one at rest does not") {
    for (const auto state :
         {SlotState::building, SlotState::held, SlotState::checking, SlotState::closing}) {
        CHECK(word::names_owner(word::owned_by(state, 3)));
    }
    for (const auto state : {SlotState::empty, SlotState::free, SlotState::dirty,
                             SlotState::quarantined, SlotState::retired}) {
        CHECK_FALSE(word::names_owner(word::owned_by(state, 3)));
    }
}

TEST_CASE("word: the generation wraps around without touching another field") {
    const std::uint64_t last = word::generation_mask | word::owned_by(SlotState::free, 0);
    const std::uint64_t first = word::next(last, SlotState::held, 5);
    CHECK(word::generation(first) == 0);
    CHECK(word::state(first) == SlotState::held);
    CHECK(word::owner(first) == 5);
    CHECK_FALSE(word::same_generation(last, first));
    CHECK(word::same_generation(first, word::owned_by(SlotState::free, 9)));
}

TEST_CASE("word: a new filling has a new number and no deaths") {
    const std::uint64_t building = word::next(0, SlotState::building, 200);
    std::uint64_t m = meta::next_fill(0, building);
    CHECK(meta::fill(m) == 1);
    CHECK(meta::deaths(m) == 0);
    const std::uint64_t lease = word::next(building, SlotState::held, 200);
    m = meta::count_death(m, lease);
    CHECK(meta::deaths(m) == 1);
    CHECK(meta::fill(m) == 1);
    m = meta::next_fill(m, word::next(lease, SlotState::building, 3));
    CHECK(meta::deaths(m) == 0);
    CHECK(meta::fill(m) == 2);
    // The first death of the new filling counts, though its lease has the same low generation.
    CHECK(meta::deaths(meta::count_death(m, lease)) == 1);
    CHECK(meta::fill(meta::next_fill(std::uint64_t{0xffffffff} << 32, building)) == 0);
}

TEST_CASE("word: a filling is begun once, by the builder or by its repairer") {
    const std::uint64_t building = word::next(0, SlotState::building, 200);
    const std::uint64_t begun = meta::next_fill(0, building);
    CHECK(meta::begin_fill(begun, building) == begun);
    CHECK(meta::begin_fill(0, building) == begun);
    // Not by the one before, whatever died on it.
    const std::uint64_t later =
        word::next(word::next(building, SlotState::empty), SlotState::building, 200);
    CHECK(meta::fill(meta::begin_fill(begun, later)) == 2);
    const std::uint64_t died = meta::count_death(begun, word::next(building, SlotState::held, 1));
    CHECK(meta::fill(meta::begin_fill(died, later)) == 2);
    CHECK(meta::deaths(meta::begin_fill(died, later)) == 0);
}

TEST_CASE("word: a selector is claimed, given back, committed") {
    const std::uint64_t free = 5 * selector::one_commit | selector::copy_bit;
    const std::uint64_t mine = selector::claimed(free, 1022);
    CHECK(selector::lane(mine) == 1022);
    CHECK((mine & selector::claimed_bit) != 0);
    CHECK(selector::unclaimed(mine) == free);
    const std::uint64_t done = selector::commit(mine);
    CHECK((done & selector::copy_bit) == 0);
    CHECK((done & selector::claimed_bit) == 0);
    CHECK(done / selector::one_commit == 6);
    CHECK(selector::lane(done) == 0);
}
