"use strict";
// Models as three.js objects. A model is what images/scenes makes of a mesh, of samples or of views.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array };
// Colours of distances. Both maps can be told apart by colour-blind people: inside blue, outside orange; cividis.
const SIGNED = ["#123f7a", "#3f7fc1", "#9cc3e6", "#f2efe9", "#f3b777", "#d9772a", "#8a3d07"];
const UNSIGNED = ["#00224e", "#2f4a7c", "#62646f", "#8f8b73", "#c3b369", "#fee838"];
// Samples are strongest at the surface, where the sign changes.
const SAMPLES = ["#7f93aa", "#2f7fd0", "#e07b28", "#a3917f"];
const PLAIN = [0.4, 0.46, 0.56],  LINES = 0x1c1f24, INSIDE = 0x7d5ba6;

// Undo `pack_arrays` of images/scenes/packing.py: return the arrays by name.
async function unpack({ arrays, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(inflated).arrayBuffer());
  const found = {};
  let start = 0;
  for (const { name, type, items, components, coding } of arrays) {
    const count = items * components, values = new TYPES[type](count);
    // Of each array, all first bytes come first, then all second bytes, and so on.
    for (let plane = 0; plane < values.BYTES_PER_ELEMENT; plane++)
      for (let i = 0; i < count; i++) {
        const place = coding === "faces" ? i : (i % items) * components + Math.floor(i / items);
        values[place] |= raw[start + plane * count + i] << (8 * plane);
      }
    if (coding === "differences") for (let i = components; i < count; i++) values[i] += values[i - components];
    if (coding === "faces") {
      let next = 0; // the smallest vertex that has not occurred yet
      for (let i = 0; i < count; i++) {
        values[i] = next - values[i];
        if (values[i] === next) next++;
      }
    }
    start += count * values.BYTES_PER_ELEMENT;
    found[name] = values;
  }
  return found;
}

const light = (byte) => (byte <= 10.31 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
const LIGHT = Float32Array.from({ length: 256 }, (_, byte) => light(byte));

// Return 256 colours from the first to the last of a list, as bytes of red, green and blue.
function ramp(colours) {
  const stops = colours.map((text) => [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16)));
  return Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2), share = place - low;
    return stops[low].map((value, channel) => Math.round(value + share * (stops[low + 1][channel] - value)));
  });
}
const half = (colours) => ramp(colours).filter((_, index) => index % 2);
const RAMPS = { signed: ramp(SIGNED), unsigned: ramp(UNSIGNED), samples: [...half(SAMPLES.slice(0, 2)), ...half(SAMPLES.slice(2))] };
const GRADIENTS = { signed: SIGNED.join(", "), unsigned: UNSIGNED.join(", "), samples: `${SAMPLES[0]}, ${SAMPLES[1]} 50%, ${SAMPLES[2]} 50%, ${SAMPLES[3]}` };

// Colour each vertex by its distance with the map of a kind; those beyond `range` get the last colour.
function paintDistances(attribute, distances, largest, range, kind) {
  const map = RAMPS[kind], signed = kind !== "unsigned";
  for (let i = 0; i < distances.length; i++) {
    const share = ((distances[i] / 32767) * largest) / range;
    const colour = map[Math.round(255 * limit(signed ? (share + 1) / 2 : share, 0, 1))];
    for (let channel = 0; channel < 3; channel++) attribute.array[3 * i + channel] = LIGHT[colour[channel]];
  }
  attribute.needsUpdate = true;
}

// The materials that all models share. `planes` clip what is drawn: { solids, samples }.
function makeMaterials(planes) {
  const side = THREE.DoubleSide, clippingPlanes = planes.solids;
  const behind = { polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 }; // keeps wires in front
  const plastic = { roughness: 0.6, metalness: 0.1, side, clippingPlanes, ...behind };
  return {
    plain: new THREE.MeshStandardMaterial({ color: new THREE.Color(...PLAIN), ...plastic }),
    painted: new THREE.MeshStandardMaterial({ vertexColors: true, ...plastic }),
    // Darker, so that no light makes a colour of the map white.
    measured: new THREE.MeshStandardMaterial({ color: 0xbbbbbb, vertexColors: true, ...plastic }),
    normals: new THREE.MeshNormalMaterial({ side, clippingPlanes, ...behind }),
    wires: new THREE.MeshBasicMaterial({ color: LINES, wireframe: true, transparent: true, opacity: 0.35, clippingPlanes }),
    // The inner side of a closed surface, seen through a section, in one flat colour: it looks like a filled cut.
    inside: new THREE.MeshBasicMaterial({ color: INSIDE, side: THREE.BackSide, clippingPlanes, ...behind }),
    points: new THREE.PointsMaterial({ vertexColors: true, clippingPlanes: planes.samples }),
  };
}

function loadTexture({ image, wrap }, done) {
  const picture = new Image(), texture = new THREE.Texture(picture);
  const modes = { repeat: THREE.RepeatWrapping, mirror: THREE.MirroredRepeatWrapping, clamp: THREE.ClampToEdgeWrapping };
  [texture.wrapS, texture.wrapT] = wrap.map((name) => modes[name]);
  texture.colorSpace = THREE.SRGBColorSpace;
  picture.onload = () => { texture.needsUpdate = true; done(); };
  picture.src = image;
  return texture;
}

// Make the object of a mesh. `show({ shading, wires, cut, range })` sets how it is drawn; `done` is called when a
// picture that arrives later changes it.
async function makeMesh(model, materials, done) {
  const arrays = await unpack(model), geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(arrays.position, 3, true));
  geometry.setIndex(new THREE.BufferAttribute(arrays.face, 1));
  geometry.computeVertexNormals();
  const count = arrays.position.length / 3, floats = () => new THREE.BufferAttribute(new Float32Array(3 * count), 3);
  const colours = arrays.colour && floats(), distances = arrays.distance && floats();
  if (colours) arrays.colour.forEach((byte, index) => (colours.array[index] = LIGHT[byte]));
  let own = materials.painted;
  if (model.textures) {
    const { low, high } = model.uv, uv = new Float32Array(2 * count);
    for (let i = 0; i < uv.length; i++) uv[i] = low[i % 2] + (arrays.uv[i] / 65535) * (high[i % 2] - low[i % 2]);
    geometry.setAttribute("uv", new THREE.BufferAttribute(uv, 2));
    let start = 0;
    model.groups.forEach((faces, index) => { geometry.addGroup(3 * start, 3 * faces, index); start += faces; });
    own = model.textures.map((texture) => {
      const material = materials.painted.clone(); // which copies the planes, so that they must be shared again
      material.clippingPlanes = materials.painted.clippingPlanes;
      if (texture) material.map = loadTexture(texture, done);
      return material;
    });
  }
  const group = new THREE.Group(), surface = new THREE.Mesh(geometry, materials.plain);
  const inside = new THREE.Mesh(geometry, materials.inside), wires = new THREE.Mesh(geometry, materials.wires);
  for (const part of [surface, inside, wires]) { part.frustumCulled = false; group.add(part); }
  group.scale.setScalar(model.scale);
  let painted = null; // the range that the distances are painted for
  function show({ shading, wires: wired, cut, range }) {
    const coloured = shading === "colours" && colours ? colours : shading === "distance" && distances;
    if (coloured) geometry.setAttribute("color", coloured);
    if (coloured === distances && coloured && painted !== range) {
      paintDistances(distances, arrays.distance, model.distance.largest, range, kindOf(model));
      painted = range;
    }
    surface.material = shading === "normals" ? materials.normals : !coloured ? materials.plain : coloured === colours ? own : materials.measured;
    wires.visible = wired;
    inside.visible = cut && model.closed;
    if (inside.visible) inside.renderOrder = 1;
  }
  return { group, show };
}

// Make the object of samples: points coloured by signed distance.
async function makePoints(model, materials) {
  const arrays = await unpack(model), geometry = new THREE.BufferGeometry(), count = arrays.position.length / 3;
  geometry.setAttribute("position", new THREE.BufferAttribute(arrays.position, 3, true));
  const colours = new THREE.BufferAttribute(new Float32Array(3 * count), 3);
  geometry.setAttribute("color", colours);
  const points = new THREE.Points(geometry, materials.points), group = new THREE.Group();
  points.frustumCulled = false;
  group.add(points);
  group.scale.setScalar(model.scale);
  let painted = null;
  return { group, show: ({ range }) => {
    if (painted !== range) paintDistances(colours, arrays.distance, model.distance.largest, range, kindOf(model));
    painted = range;
  } };
}
