// damage.cpp: which parts of a file are hit, and how.
//
// A script: one byte of options, one byte that says how many edits, the edits, and what is left is
// for whoever then uses the file. An edit: whether it is of a word, of a known number or of an
// extent, the part and the word in it, the new value.
#include "damage.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/detail/value_core.hpp>

#include "desk.hpp"
#include "runtime/arena_file.hpp"

namespace fuzz {

using lagoon::detail::ArenaHeader;
using lagoon::detail::DirectoryEntry;

namespace {

constexpr std::uint8_t option_checksum = 1;
constexpr std::uint8_t option_scoped = 2;
constexpr std::uint8_t option_size = 4;
constexpr std::uint8_t option_live = 8;  // the file stays sound: only what lives in it is changed

/// Of what is there now: the header's own numbers may lead anywhere.
void renew_checksum(std::string& bytes) {
    if (bytes.size() < sizeof(ArenaHeader)) return;
    ArenaHeader header;
    std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
    const std::uint64_t all = bytes.size();
    const std::uint64_t directory = header.directory_count * sizeof(DirectoryEntry);
    if (header.directory_offset > all || directory > all - header.directory_offset) return;
    // A copy of its own: the place may be one that no entry can stand at.
    std::vector<DirectoryEntry> entries(header.directory_count);
    if (directory != 0) {
        std::memcpy(entries.data(), bytes.data() + header.directory_offset, directory);
    }
    const std::uint64_t sum = lagoon::detail::checksum_of(header, entries.data());
    std::memcpy(&bytes[offsetof(ArenaHeader, checksum)], &sum, sizeof sum);
}

}  // namespace

void Damage::set_up() {
    name_ = std::string{"fuzz-"} + subject + '-' + std::to_string(::getpid());
    path_ = lagoon::detail::arena_path(lagoon::detail::arena_directory({}), name_);
    (void)make_desk(name_);
    std::ostringstream text;
    text << std::ifstream{path_, std::ios::binary}.rdbuf();
    sound_ = text.str();
    lagoon::remove(std::string_view{name_});
    const auto& header = *reinterpret_cast<const ArenaHeader*>(sound_.data());
    parts_ = {{0, offsetof(ArenaHeader, checksum)},
              {offsetof(ArenaHeader, state), 64},
              {header.members_offset, header.lanes_offset - header.members_offset},
              {header.lanes_offset, header.directory_offset - header.lanes_offset},
              {0, sound_.size()}};
    const auto* entry = reinterpret_cast<const DirectoryEntry*>(&sound_[header.directory_offset]);
    for (std::uint32_t i = 0; i < header.directory_count; ++i, ++entry) {
        parts_.push_back(
            {header.directory_offset + i * sizeof(DirectoryEntry) + offsetof(DirectoryEntry, kind),
             sizeof(DirectoryEntry) - offsetof(DirectoryEntry, kind)});
        parts_.push_back({header.root_offset + entry->object_offset, entry->object_bytes});
        if (entry->storage_bytes == 0) continue;
        const bool pool = entry->kind == static_cast<std::uint32_t>(lagoon::detail::Kind::pool);
        parts_.push_back({entry->storage_offset, entry->storage_bytes});
        if (pool) parts_.push_back({entry->storage_offset, sizeof(lagoon::detail::PoolBody)});
    }
    collect_fields();
    collect_live();
}

void Damage::collect_fields() {
    using lagoon::detail::PoolBody;
    const auto& header = *reinterpret_cast<const ArenaHeader*>(sound_.data());
    const auto words = [&](std::uint64_t from, std::uint64_t to) {
        for (; from < to; from += 8) fields_.push_back({from, 8});
    };
    words(offsetof(ArenaHeader, header_bytes), offsetof(ArenaHeader, id));
    for (auto at = offsetof(ArenaHeader, flags); at < offsetof(ArenaHeader, members_offset);
         at += 4) {
        fields_.push_back({at, 4});
    }
    words(offsetof(ArenaHeader, members_offset), offsetof(ArenaHeader, created_realtime_ns));
    for (std::uint32_t i = 0; i < header.directory_count; ++i) {
        const std::uint64_t at = header.directory_offset + i * sizeof(DirectoryEntry);
        const auto& entry = *reinterpret_cast<const DirectoryEntry*>(&sound_[at]);
        fields_.push_back({at + offsetof(DirectoryEntry, kind), 4});
        fields_.push_back({at + offsetof(DirectoryEntry, element_align), 4});
        words(at + offsetof(DirectoryEntry, element_bytes),
              at + offsetof(DirectoryEntry, element_shape));
        words(at + offsetof(DirectoryEntry, object_offset), at + sizeof(DirectoryEntry));
        const std::uint64_t object = header.root_offset + entry.object_offset;
        const bool pool = entry.kind == static_cast<std::uint32_t>(lagoon::detail::Kind::pool);
        if (entry.storage_bytes != 0) words(object, object + (pool ? 32 : 16));
        if (!pool) continue;
        words(entry.storage_offset, entry.storage_offset + offsetof(PoolBody, on_death));
        const std::uint64_t life = entry.storage_offset + offsetof(PoolBody, life);
        words(life, life + sizeof(lagoon::detail::LifePolicy));
        const std::uint64_t creation = entry.storage_offset + offsetof(PoolBody, creation);
        words(creation, creation + sizeof(lagoon::detail::CreationPolicy));
    }
}

void Damage::collect_live() {
    using lagoon::detail::Kind;
    using lagoon::detail::PoolBody;
    const auto& header = *reinterpret_cast<const ArenaHeader*>(sound_.data());
    const auto* entry = reinterpret_cast<const DirectoryEntry*>(&sound_[header.directory_offset]);
    for (std::uint32_t i = 0; i < header.directory_count; ++i, ++entry) {
        const std::uint64_t object = header.root_offset + entry->object_offset;
        switch (static_cast<Kind>(entry->kind)) {
            case Kind::pool: {
                PoolBody body;
                const std::uint64_t at = entry->storage_offset;
                std::memcpy(static_cast<void*>(&body), &sound_[at], sizeof body);
                for (auto word = offsetof(PoolBody, demand); word < offsetof(PoolBody, created);
                     word += 8) {
                    if (word < offsetof(PoolBody, demand_leaf) + 16)
                        live_.push_back({at + word, 8});
                }
                for (std::uint64_t slot = 0; slot < std::min<std::uint64_t>(body.capacity, 4);
                     ++slot) {
                    const std::uint64_t from = at + body.slots_at + slot * body.stride;
                    live_.push_back({from, 8});
                    live_.push_back({from + 8, 8});
                    live_.push_back({from + body.value_at, 1});
                }
                const std::uint64_t records = at + body.life.records_at;
                constexpr std::uint64_t of_two = 2 * sizeof(lagoon::detail::LifeRecord);
                for (std::uint64_t word = 0; body.life.records_at != 0 && word < of_two;
                     word += 8) {
                    live_.push_back({records + word, 8});
                }
                break;
            }
            case Kind::array:
                live_.push_back({entry->storage_offset, 1});
                live_.push_back({entry->storage_offset + entry->element_bytes, 1});
                break;
            case Kind::sharded_counter: live_.push_back({entry->storage_offset, 8}); break;
            case Kind::value:
                if (lagoon::detail::is_wide_value(entry->element_bytes)) {
                    const std::uint64_t copy = object + sizeof(lagoon::detail::ValueCore);
                    live_.push_back({copy, 1});
                    live_.push_back({copy + (entry->element_bytes + 7) / 8 * 8, 1});
                }
                [[fallthrough]];
            default: live_.push_back({object, 8});
        }
    }
}

void Damage::edit_live(Input& input, std::string& bytes) const {
    const Field& field = live_[input.below(live_.size())];
    if (field.offset + field.bytes > bytes.size()) return;
    const std::uint64_t before = read_field(bytes, field);
    const std::uint64_t number = field.bytes == 1 ? input.take() : input.word(before);
    std::memcpy(&bytes[field.offset], &number, field.bytes);
}

std::uint64_t Damage::read_field(const std::string& bytes, const Field& field) const {
    std::uint64_t number = 0;
    if (field.offset + field.bytes <= bytes.size()) {
        std::memcpy(&number, &bytes[field.offset], field.bytes);  // little-endian
    }
    return number;
}

void Damage::edit_field(Input& input, std::string& bytes) const {
    const Field& field = fields_[input.below(fields_.size())];
    const std::uint64_t before = read_field(bytes, field);
    const std::uint8_t how = input.take();
    const std::uint64_t other = read_field(sound_, fields_[input.below(fields_.size())]);
    std::uint64_t number = 0;
    switch (how % 8) {
        case 0: number = other; break;
        case 1: number = other + 1; break;
        case 2: number = other - 1; break;
        case 3: number = before + other; break;
        case 4: number = before - other; break;
        case 5: number = before + (std::uint64_t{8} << how / 8 % 16); break;
        case 6: number = before - (std::uint64_t{8} << how / 8 % 16); break;
        default: number = input.word(before);
    }
    if (field.offset + field.bytes <= bytes.size()) {
        std::memcpy(&bytes[field.offset], &number, field.bytes);
    }
}

void Damage::edit_extent(Input& input, std::string& bytes) const {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(sound_.data());
    const std::uint64_t which = input.below(header.directory_count);
    const std::uint64_t at = header.directory_offset + which * sizeof(DirectoryEntry);
    DirectoryEntry entry;
    std::memcpy(&entry, &sound_[at], sizeof entry);
    const std::uint64_t extent = input.word(entry.extent);
    const auto put = [&](std::uint64_t place) {
        std::memcpy(&bytes[place], &extent, sizeof extent);
    };
    put(at + offsetof(DirectoryEntry, extent));
    if (entry.storage_bytes == 0) return;
    put(header.root_offset + entry.object_offset + offsetof(lagoon::detail::Storage, extent));
    if (entry.kind == static_cast<std::uint32_t>(lagoon::detail::Kind::pool)) {
        put(entry.storage_offset);  // the capacity
    }
}

void Damage::edit(Input& input, std::string& bytes) const {
    const std::uint64_t what = input.below(16);
    if (what == 15) return edit_extent(input, bytes);
    if (what >= 13) return edit_live(input, bytes);
    if (what >= 8) return edit_field(input, bytes);
    const Part& part = parts_[input.below(parts_.size())];
    std::uint64_t word = 0;
    const std::uint64_t at = part.offset + 8 * input.below(part.bytes / 8);
    if (at + sizeof word > bytes.size()) return;
    std::memcpy(&word, &bytes[at], sizeof word);
    word = input.word(word);
    std::memcpy(&bytes[at], &word, sizeof word);
}

void Damage::write_file(Input& input) {
    std::string bytes = sound_;
    const std::uint8_t options = input.take();
    const std::uint64_t edits = input.below(most_edits + 1);
    if ((options & option_scoped) != 0) {
        bytes[offsetof(ArenaHeader, flags)] |= static_cast<char>(lagoon::detail::flag_scoped);
    }
    const bool live = (options & option_live) != 0;
    for (std::uint64_t i = 0; i < edits; ++i) {
        live ? edit_live(input, bytes) : edit(input, bytes);
    }
    if ((options & option_size) != 0) {
        const std::uint64_t size = input.word(bytes.size());
        bytes.resize(std::min<std::uint64_t>(size, bytes.size() + lagoon::detail::page_bytes));
    }
    if ((options & option_checksum) != 0) renew_checksum(bytes);
    std::ofstream{path_, std::ios::binary} << bytes;
    written_ = std::move(bytes);
}

void Damage::require_disjoint() const {
    using lagoon::detail::Kind;
    ArenaHeader header;
    std::memcpy(static_cast<void*>(&header), written_.data(), sizeof header);
    std::vector<Part> parts{
        {0, lagoon::detail::page_bytes},
        {header.members_offset, header.max_members * sizeof(lagoon::detail::MemberEntry)},
        {header.lanes_offset,
         (header.max_lanes - header.max_members) * sizeof(lagoon::detail::LaneEntry)},
        {header.directory_offset, header.directory_count * sizeof(DirectoryEntry)},
        {header.root_offset, header.root_bytes}};
    std::vector<Part> objects;
    for (std::uint32_t i = 0; i < header.directory_count; ++i) {
        DirectoryEntry entry;
        std::memcpy(&entry, &written_[header.directory_offset + i * sizeof entry], sizeof entry);
        objects.push_back({header.root_offset + entry.object_offset, entry.object_bytes});
        // Counters share the lines of their stripes.
        if (entry.kind == static_cast<std::uint32_t>(Kind::sharded_counter)) continue;
        if (entry.storage_bytes != 0) parts.push_back({entry.storage_offset, entry.storage_bytes});
    }
    for (auto* all : {&parts, &objects}) {
        std::sort(all->begin(), all->end(),
                  [](const Part& a, const Part& b) { return a.offset < b.offset; });
        std::uint64_t end = 0;
        for (const Part& part : *all) {
            if (part.offset < end || part.bytes > written_.size() ||
                part.offset > written_.size() - part.bytes) {
                std::abort();
            }
            end = part.offset + part.bytes;
        }
    }
}

void Damage::remove_file() const { ::unlink(path_.c_str()); }

std::vector<Bytes> damage_seeds(const Damage& damage) {
    std::vector<Bytes> all;
    for (std::size_t field = 0; field < damage.fields(); ++field) {
        // Through the checksum: one edit of a known number.
        const auto how = static_cast<std::uint8_t>(field % 7);
        all.push_back({option_checksum, 1, 8, static_cast<std::uint8_t>(field), how,
                       static_cast<std::uint8_t>(field * 5 + how), how, 6, 1, 2, 3, 4, 5});
    }
    for (std::size_t word = 0; word < damage.live(); ++word) {
        all.push_back({option_live, 1, static_cast<std::uint8_t>(word), 0xf1,
                       static_cast<std::uint8_t>(word), 2, 3, 4, 5, 6, 7});
    }
    for (std::size_t part = 0; part < damage.parts(); ++part) {
        for (std::uint8_t use = 0; use < 8; ++use) {
            // Options; one edit: of a word, part, word, a flipped bit; then what is done with the
            // file.
            const auto options = static_cast<std::uint8_t>(use % 4 == 0 ? 0 : option_checksum);
            all.push_back({options, 1, static_cast<std::uint8_t>(use == 7 ? 15 : 0),
                           static_cast<std::uint8_t>(part), static_cast<std::uint8_t>(use * 3), 0,
                           0, 0, 2, static_cast<std::uint8_t>(part + use), use, 1, 2, 3, 4, 5, 6, 7,
                           8});
        }
    }
    return all;
}

}  // namespace fuzz
