// What the pages use of three.js. esbuild leaves out the rest.
export {
  AmbientLight, BackSide, BufferAttribute, BufferGeometry, Color, ClampToEdgeWrapping, DirectionalLight, DoubleSide, FrontSide,
  Group, LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, MeshNormalMaterial,
  MirroredRepeatWrapping, PerspectiveCamera, Plane, Points, PointsMaterial, REVISION, RepeatWrapping, SRGBColorSpace,
  Scene, Spherical, Texture, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
