"use strict";
// The cameras of views as pyramids, each with its picture where the picture plane would be, around a mesh if there is one.

const DEPTH = 0.3; // distance of the picture from its camera, as a share of the extent of all cameras

async function makeCameras(model, materials, done, cell) {
  const inner = model.mesh ? await makeMesh(model.mesh, materials, done) : null;
  const group = new THREE.Group(), reach = DEPTH / model.scale, lines = [], faces = [], places = [];
  model.cameras.forEach((camera, index) => {
    const tangent = Math.tan(model.yfov[index] / 2) * reach, across = tangent * model.aspect;
    const matrix = new THREE.Matrix4().fromArray(camera); // column after column, as three.js has it
    const point = (x, y, z) => new THREE.Vector3(x, y, z).applyMatrix4(matrix);
    const centre = point(0, 0, 0), corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => point(x * across, y * tangent, -reach));
    const up = [point(-0.4 * across, 1.1 * tangent, -reach), point(0, 1.5 * tangent, -reach), point(0.4 * across, 1.1 * tangent, -reach)];
    corners.forEach((corner, place) => lines.push(centre, corner, corner, corners[(place + 1) % 4]));
    up.forEach((corner, place) => lines.push(corner, up[(place + 1) % 3])); // a small roof says which side is up
    const frame = model.pictures.indexOf(index);
    if (frame < 0) return;
    // The pictures lie in one image, row by row; row 0 is at the top, where v is 1.
    const { across: wide, frames } = cell.film, high = Math.ceil(frames / wide);
    const u = frame % wide, v = high - 1 - Math.floor(frame / wide);
    for (const place of [0, 1, 2, 0, 2, 3]) {
      faces.push(corners[place]);
      places.push((u + (place === 1 || place === 2)) / wide, (v + (place > 1)) / high);
    }
  });
  const flat = (points) => new THREE.BufferAttribute(Float32Array.from(points.flatMap((point) => point.toArray())), 3);
  const edges = new THREE.BufferGeometry().setAttribute("position", flat(lines));
  const sheets = new THREE.BufferGeometry().setAttribute("position", flat(faces));
  sheets.setAttribute("uv", new THREE.BufferAttribute(Float32Array.from(places), 2));
  const map = loadTexture({ image: cell.film.image, wrap: ["clamp", "clamp"] }, done);
  const pictures = new THREE.Mesh(sheets, new THREE.MeshBasicMaterial({ map, side: THREE.DoubleSide }));
  const pyramids = new THREE.LineSegments(edges, new THREE.LineBasicMaterial({ color: 0x808a96 }));
  for (const part of [pictures, pyramids]) { part.frustumCulled = false; group.add(part); }
  if (inner) group.add(inner.group);
  group.scale.setScalar(model.scale);
  return { group, show: (state) => inner?.show({ ...state, shading: state.shading || "plain" }) };
}
