// Files that are no arenas, and arenas whose bytes were changed: an error, and nothing worse.
#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/pool_core.hpp>

#include "run.hpp"

using namespace tool_test;
namespace files = std::filesystem;

namespace {

std::string path_of(const std::string& name) { return directory() + "/lagoon." + name; }

const char* const readers_and_writers[] = {
    "show NAME",        "show --json --limit 0 NAME",
    "get NAME total",   "get NAME curve",
    "add NAME total 1", "add NAME squares 1 2",
    "reap NAME",        "lease --no-wait NAME clusters -- true"};

std::string with_name(std::string line, const std::string& name) {
    return line.replace(line.find("NAME"), 4, name);
}

/// Every subcommand but rm fails with status 2 and one line, and the file stays as it is.
void check_refused(const std::string& name) {
    for (const char* line : readers_and_writers) {
        const Ran ran = lagoon_tool(with_name(line, name));
        INFO("lagoon " << line << ": " << ran.err);
        CHECK(ran.status == 2);
        CHECK(ran.out.empty());
        CHECK(ran.err.starts_with("lagoon: arena '" + name + "'"));
    }
    CHECK(files::exists(files::symlink_status(path_of(name))));
    const Ran listed = lagoon_tool("ls");
    CHECK(listed.status == 0);
    CHECK(listed.out.find("\n" + name + "  ") != std::string::npos);
}

/// A persistent arena's bytes, of a name whose file is gone.
std::string sound_bytes(const std::string& name) {
    const auto desk = make_desk(name);
    const std::string bytes = read_file(path_of(name));
    lagoon::remove(std::string_view{name});
    return bytes;
}

/// No signal, no hang, and an answer that the command knows.
void check_survived(const std::string& name, const std::string& why) {
    for (const char* line : readers_and_writers) {
        const Ran ran = shell("timeout 60 lagoon " + with_name(line, name));
        INFO("lagoon " << line << " after " << why << ": " << ran.err);
        CHECK((ran.status >= 0 && ran.status <= 2));
        CHECK((ran.status == 0 || !ran.err.empty()));
    }
    CHECK(lagoon_tool("ls").status == 0);
}

}  // namespace

TEST_CASE("tool: a damaged or foreign regular file is refused, and rm removes it") {
    const std::string name = unique("damaged");
    const std::string sound = sound_bytes(name);
    std::mt19937 random{1};
    std::string noise(70'000, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    std::string newer = sound;
    newer[offsetof(lagoon::detail::ArenaHeader, version)] ^= 0x40;
    std::string flipped = sound;
    flipped[offsetof(lagoon::detail::ArenaHeader, root_offset)] ^= 0x40;
    std::string directory_entry = sound;
    const auto& header = *reinterpret_cast<const lagoon::detail::ArenaHeader*>(sound.data());
    directory_entry[header.directory_offset + 5] ^= 1;
    for (const std::string& bytes :
         {std::string{}, std::string{"x"}, noise, std::string(70'000, '\0'), sound.substr(0, 100),
          sound.substr(0, 4096), sound.substr(0, sound.size() - 1), sound + "x", newer, flipped,
          directory_entry, std::string{"#!/bin/sh\necho hello\n"}}) {
        INFO(bytes.size() << " bytes");
        write_file(path_of(name), bytes);
        check_refused(name);
        CHECK(lagoon_tool("rm " + name).status == 0);
        CHECK_FALSE(files::exists(path_of(name)));
    }
}

TEST_CASE("tool: a link, a directory, a FIFO and a socket are refused by every subcommand") {
    const std::string name = unique("foreign");
    const std::string path = path_of(name);
    const std::string target = directory() + "/target";
    write_file(target, sound_bytes(name));
    SECTION("link") { files::create_symlink(target, path); }
    SECTION("dangling link") { files::create_symlink(target + "-absent", path); }
    SECTION("directory") { files::create_directory(path); }
    SECTION("FIFO") { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }
    if (!files::exists(files::symlink_status(path))) return;
    const std::string before = read_file(target);
    check_refused(name);
    const Ran removal = lagoon_tool("rm " + name);
    CHECK(removal.status == 2);
    CHECK_FALSE(removal.err.empty());
    CHECK(files::exists(files::symlink_status(path)));
    CHECK(read_file(target) == before);
    files::remove(path);
    files::remove(target);
}

TEST_CASE("tool: changed bytes behind the checksum give an error or an answer, nothing worse") {
    const std::string name = unique("flipped");
    const std::string sound = sound_bytes(name);
    const auto& header = *reinterpret_cast<const lagoon::detail::ArenaHeader*>(sound.data());
    const char* set = std::getenv("LAGOON_TOOL_FLIPS");
    const int flips = set != nullptr ? std::atoi(set) : 12;
    const char* seed = std::getenv("LAGOON_TOOL_SEED");
    std::mt19937_64 random{seed != nullptr ? std::strtoull(seed, nullptr, 0) : 1};
    for (int i = 0; i < flips; ++i) {
        std::string bytes = sound;
        std::string where;
        for (int n = 0; n < 1 + i % 8; ++n) {
            // Half of them in the struct, whose words lead to all the rest.
            const std::uint64_t from = n % 2 == 0 ? header.root_offset : 384;
            const std::uint64_t room = n % 2 == 0 ? header.root_bytes : sound.size() - from;
            const std::uint64_t at = from + random() % room;
            bytes[at] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
            where += ' ' + std::to_string(at);
        }
        // The directory is under the checksum, and so is refused: not what is asked here.
        bytes.replace(header.directory_offset, header.root_offset - header.directory_offset, sound,
                      header.directory_offset, header.root_offset - header.directory_offset);
        write_file(path_of(name), bytes);
        check_survived(name, "bytes" + where);
    }
    files::remove(path_of(name));
}

TEST_CASE("tool: an object that says its storage is elsewhere is refused") {
    const std::string name = unique("led-astray");
    const std::string sound = sound_bytes(name);
    const auto& header = *reinterpret_cast<const lagoon::detail::ArenaHeader*>(sound.data());
    const auto* entry =
        reinterpret_cast<const lagoon::detail::DirectoryEntry*>(&sound[header.directory_offset]);
    int tried = 0;
    const auto try_word = [&](std::uint64_t at, std::uint64_t value, const std::string& why) {
        std::string bytes = sound;
        std::memcpy(&bytes[at], &value, sizeof value);
        write_file(path_of(name), bytes);
        INFO(why);
        const Ran ran = lagoon_tool("show " + name);
        CHECK(ran.status == 2);
        CHECK(ran.err.find("member ") != std::string::npos);
        ++tried;
    };
    for (std::uint32_t i = 0; i < header.directory_count; ++i, ++entry) {
        const auto kind = static_cast<lagoon::detail::Kind>(entry->kind);
        const bool pool = kind == lagoon::detail::Kind::pool;
        if (!pool && kind != lagoon::detail::Kind::array &&
            kind != lagoon::detail::Kind::sharded_counter) {
            continue;
        }
        const std::string member = entry->name.data();
        const std::uint64_t object = header.root_offset + entry->object_offset;
        try_word(object + 8, 1'000'000'007, member + ": extent");
        if (entry->storage_bytes > 0) try_word(object, 1ULL << 40, member + ": place");
        if (!pool) continue;
        try_word(object + 16, 1ULL << 40, member + ": place of the counters");
        try_word(object + 24, 1ULL << 40, member + ": number of counters");
        for (std::uint64_t field = 0; field < 7; ++field) {
            try_word(entry->storage_offset + 8 * field, 1ULL << 40,
                     member + ": word " + std::to_string(field) + " of the pool");
        }
    }
    CHECK(tried > 20);
    files::remove(path_of(name));
}
