// lagoon.hpp: all of lagoon.
#pragma once

#include <lagoon/arena.hpp>
#include <lagoon/arena_options.hpp>
#include <lagoon/arena_safe.hpp>
#include <lagoon/arena_view.hpp>
#include <lagoon/array.hpp>
#include <lagoon/count.hpp>
#include <lagoon/counter.hpp>
#include <lagoon/error.hpp>
#include <lagoon/group.hpp>
#include <lagoon/lease.hpp>
#include <lagoon/local.hpp>
#include <lagoon/lock.hpp>
#include <lagoon/outcome.hpp>
#include <lagoon/pool.hpp>
#include <lagoon/pool_life.hpp>
#include <lagoon/pool_options.hpp>
#include <lagoon/process.hpp>
#include <lagoon/sharded_counter.hpp>
#include <lagoon/string.hpp>
#include <lagoon/value.hpp>
